import Foundation
import NIOCore
import NIOPosix
import SPIFFE
import SPIFFETLS
import SPIFFEWorkloadAPI
import SmartCityMessages

/// The sensor bot of the smart city: sends readings to the analyzer, and to nobody else.
@main enum SensorBot {
    private static let voice = Voice("sensor")
    private static let readings = [21.5, 38.0, 57.5, 24.0, 63.0]

    static func main() async {
        exit(await self.voice.exitCode { try await self.run() })
    }

    private static func run() async throws {
        let options = try CommandLineOptions(
            Array(CommandLine.arguments.dropFirst()),
            names: ["connect", "expect", "count", "sensor", "first", "txn"],
            usage:
                "smartcity-sensor --connect HOST:PORT --expect SPIFFE-ID [--count N] [--sensor NAME] "
                + "[--first READING] [--txn TRANSACTION]")
        let server = try options.required("connect", HostPort.init)
        let expected = try options.required("expect") { try? SPIFFEID($0) }
        let count = try options.count("count", default: 5)
        // The readings begin with that one, where it is one of them.
        let first = options.text("first").flatMap(Double.init).flatMap(
            self.readings.firstIndex(of:))
        let plan = Plan(
            sensor: options.text("sensor") ?? "air-7",
            readings: (0..<count).map { self.readings[($0 + (first ?? 0)) % self.readings.count] },
            transaction: options.text("txn"))

        try await withCityIdentity(self.voice) { source in
            let tls = MTLSClientConfiguration(
                svid: source, bundles: source, authorizer: .exactly(expected))
            let connection = try await self.connect(to: server, tls)
            var isDone = false
            do {
                try await connection.channel.executeThenClose { inbound, outbound in
                    // The deadline of the whole conversation: a silent peer must not hold us for ever.
                    let channel = connection.channel.channel
                    let deadline = channel.eventLoop.scheduleTask(in: .seconds(20)) {
                        channel.close(promise: nil)
                    }
                    defer { deadline.cancel() }
                    try await self.talk(connection, inbound, outbound, plan, source)
                    isDone = true
                }
            } catch {
                // Many programs hang up without TLS's farewell; with every answer here, that is fine.
                guard isDone else { throw error }
            }
        }
    }

    private static func connect(
        to server: HostPort, _ tls: MTLSClientConfiguration
    ) async throws -> SecureConnection {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(.seconds(10))
            .connect(host: server.host, port: server.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try SecureConnection(on: channel) { onVerified, onRefused in
                        try tls.makeHandler(
                            for: channel, onVerified: onVerified, onRefused: onRefused)
                    }
                }
            }
    }

    /// What is sent.
    private struct Plan {
        let sensor: String
        let readings: [Double]
        /// The transaction that the readings belong to; nil for none.
        let transaction: String?
    }

    /// Has it on record that a reading is about to be reported, with the peer's receipt.
    private static func state(
        _ transaction: String, to peer: SPIFFEID, _ source: X509Source,
        _ answers: inout JSONLines<NIOAsyncChannelInboundStream<ByteBuffer>>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async throws {
        let statement = try CustodyStatement(
            action: "report-reading", transaction: transaction, peer: peer
        ).signed(by: try source.x509SVID())
        try await outbound.write(ByteBuffer(message: ["statement": .string(statement.token)]))
        guard let token = try await answers.next()?["receipt"]?.stringValue else {
            throw Failure(1, "the peer gave no receipt")
        }
        let receipt = try CustodyReceipt(token)
        try await CustodyVerifier(bundles: source).verify(receipt, for: statement)
        try await WorkloadAPIClient.with {
            try await Custody($0).record(statement, receipt: receipt)
        }
        self.voice.say("recorded report-reading of \(transaction)")
    }

    private static func talk(
        _ connection: SecureConnection, _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>, _ plan: Plan, _ source: X509Source
    ) async throws {
        do {
            let peer = try await connection.verifiedPeer()
            self.voice.say("connected to \(peer)")
            var answers = JSONLines(inbound)
            for reading in plan.readings {
                var message: [String: JSONValue] = [
                    "sensor": .string(plan.sensor), "reading": .double(reading),
                ]
                if let transaction = plan.transaction {
                    message["txn"] = .string(transaction)
                    try await self.state(transaction, to: peer, source, &answers, outbound)
                }
                try await outbound.write(ByteBuffer(message: .object(message)))
                // In TLS 1.3 a server that refuses us says so only after our side of the handshake is
                // over; here is where we hear of it.
                guard let answer = try await answers.next() else {
                    throw Failure(2, "the peer hung up without an answer: it refused us")
                }
                guard let verdict = answer["verdict"]?.stringValue else {
                    throw Failure(1, "the peer answered without a verdict")
                }
                self.voice.say("reading \(reading) -> \(verdict)")
            }
        } catch let failure as Failure {
            throw failure
        } catch let error as JOSEError {
            throw Failure(1, "the peer answered no JSON: \(error)")
        } catch {
            throw Failure(2, "no connection: \(SecureConnection.plain(error))")
        }
    }
}
