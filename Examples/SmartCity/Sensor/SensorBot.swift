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
            Array(CommandLine.arguments.dropFirst()), names: ["connect", "expect", "count"],
            usage: "smartcity-sensor --connect HOST:PORT --expect SPIFFE-ID [--count N]")
        let server = try options.required("connect", HostPort.init)
        let expected = try options.required("expect") { try? SPIFFEID($0) }
        let count = try options.count("count", default: 5)

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
                    try await self.talk(connection, inbound, outbound, count)
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

    private static func talk(
        _ connection: SecureConnection, _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>, _ count: Int
    ) async throws {
        do {
            self.voice.say("connected to \(try await connection.verifiedPeer())")
            var answers = JSONLines(inbound)
            for number in 0..<count {
                let reading = self.readings[number % self.readings.count]
                try await outbound.write(
                    ByteBuffer(message: ["sensor": "air-7", "reading": .double(reading)]))
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
