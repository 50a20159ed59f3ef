import Dispatch
import Foundation
import NIOCore
import NIOPosix
import SPIFFE
import SPIFFETLS
import SPIFFEWorkloadAPI
import SmartCityMessages

/// The action agent of the smart city: does what the analyzer asks, and what nobody else asks.
@main enum ActionAgent {
    private static let voice = Voice("action")

    static func main() async {
        exit(await self.voice.exitCode { try await self.run() })
    }

    private static func run() async throws {
        let options = try CommandLineOptions(
            Array(CommandLine.arguments.dropFirst()), names: ["listen", "allow"],
            usage: "smartcity-action --listen HOST:PORT --allow SPIFFE-ID")
        let address = try options.required("listen", HostPort.init)
        let allowed = try options.required("allow") { try? SPIFFEID($0) }

        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { await self.terminationSignal() }
            group.addTask {
                try await withCityIdentity(self.voice) { source in
                    try await self.serve(source, on: address, allowed)
                }
            }
            // Whichever comes first: SIGTERM, or an error.
            _ = try await group.next()
        }
    }

    private static func serve(
        _ source: X509Source, on address: HostPort, _ allowed: SPIFFEID
    ) async throws {
        // The handshake lets in everybody of our trust domain, so that a caller who is known but not
        // allowed can be named; `converse` asks who it is before it reads a word.
        let tls = MTLSServerConfiguration(
            svid: source, bundles: source, authorizer: .member(of: allowed.trustDomain))
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .bind(host: address.host, port: address.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try SecureConnection(on: channel) { onVerified, onRefused in
                        try tls.makeHandler(
                            for: channel, onVerified: onVerified, onRefused: onRefused)
                    }
                }
            }
        self.voice.say("listening on \(address)")
        try await server.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections {
                    group.addTask { await self.handle(connection, .exactly(allowed), source) }
                }
            }
        }
    }

    /// One caller; nothing that goes wrong with it ends the program.
    private static func handle(
        _ connection: SecureConnection, _ authorizer: Authorizer, _ source: X509Source
    ) async {
        await withTaskCancellationHandler {
            do {
                try await connection.channel.executeThenClose { inbound, outbound in
                    try await self.converse(connection, inbound, outbound, authorizer, source)
                }
            } catch {
                // Said already, or the caller is gone.
            }
        } onCancel: {
            // Waiting for a handshake does not end by itself.
            connection.channel.channel.close(promise: nil)
        }
    }

    private static func converse(
        _ connection: SecureConnection, _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>, _ authorizer: Authorizer,
        _ source: X509Source
    ) async throws {
        // A caller who connects and says nothing is not waited for.
        let channel = connection.channel.channel
        let deadline = channel.eventLoop.scheduleTask(in: .seconds(10)) {
            channel.close(promise: nil)
        }
        defer { deadline.cancel() }
        let caller: SPIFFEID
        do {
            caller = try await connection.verifiedPeer()
        } catch {
            self.voice.say("refused a caller: \(error)")
            throw error
        }
        deadline.cancel()
        do {
            try authorizer.authorize(caller)
        } catch {
            self.voice.say("refused \(caller): only \(authorizer) may talk to me")
            throw error
        }
        self.voice.say("accepted \(caller)")
        var commands = JSONLines(inbound)
        while let command = try await commands.next() {
            if let token = command["statement"]?.stringValue {
                let receipt = try await self.receipt(for: token, of: caller, source)
                try await outbound.write(ByteBuffer(message: ["receipt": .string(receipt.token)]))
                continue
            }
            guard let action = command["action"]?.stringValue,
                let reason = command["reason"]?.stringValue
            else { throw Failure(1, "a command without action or reason") }
            if let transaction = command["txn"]?.stringValue {
                // On record before it is done: what cannot be recorded is not done.
                let statement = try CustodyStatement(
                    action: action, transaction: transaction, peer: caller
                ).signed(by: try source.x509SVID())
                try await WorkloadAPIClient.with { try await Custody($0).record(statement) }
                self.voice.say("recorded \(action) of \(transaction)")
            }
            self.voice.say("did \(action) (\(reason))")
            try await outbound.write(ByteBuffer(message: ["done": true]))
        }
    }

    /// A receipt for what the caller says that it does towards us.
    private static func receipt(
        for token: String, of caller: SPIFFEID, _ source: X509Source
    ) async throws -> CustodyReceipt {
        do {
            let statement = try SignedCustodyStatement(token)
            guard statement.signer == caller else {
                throw Failure(1, "it is by \(statement.signer)")
            }
            try await CustodyVerifier(bundles: source).verify(statement)
            return try CustodyReceipt(for: statement, signedBy: try source.x509SVID())
        } catch {
            self.voice.say("refused a statement of \(caller): \(error)")
            throw error
        }
    }

    /// Returns at SIGTERM, which does not end the program by itself from now on.
    private static func terminationSignal() async {
        signal(SIGTERM, SIG_IGN)
        let (arrivals, continuation) = AsyncStream.makeStream(of: Void.self)
        let source = DispatchSource.makeSignalSource(signal: SIGTERM, queue: .global())
        source.setEventHandler { continuation.yield() }
        source.resume()
        defer { source.cancel() }
        for await _ in arrivals { return }
    }
}
