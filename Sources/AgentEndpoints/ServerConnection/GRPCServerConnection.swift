package import AgentCore
import ControlPlaneProto
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import GRPCProtobuf
package import Logging
import NIOConcurrencyHelpers
package import PluginAPI
package import SPIFFE
import SwiftASN1
import SwiftProtobuf
import X509

/// The server over gRPC and mutual TLS.
///
/// A session asks for push synchronisation first; a server that does not know it (SPIRE's) is
/// polled with SPIRE's own methods from then on, until the next start of the agent or a failed
/// poll.
package struct GRPCServerConnection: ServerConnection {
    typealias Transport = HTTP2ClientTransport.Posix
    typealias Client = GRPCClient<Transport>

    /// Where the server is and how it is talked to.
    package struct Settings: Sendable {
        package var trustDomain: TrustDomain
        /// IP address or host name.
        package var host: String
        package var port: Int
        /// What is reported as the agent's version, at most 255 bytes.
        package var agentVersion: String
        /// How often a server that cannot push is asked.
        package var syncInterval: Duration
        /// Bound of one unary call.
        package var callTimeout: Duration

        package init(
            trustDomain: TrustDomain, host: String, port: Int, agentVersion: String,
            syncInterval: Duration = .seconds(5), callTimeout: Duration = .seconds(30)
        ) {
            self.trustDomain = trustDomain
            self.host = host
            self.port = port
            self.agentVersion = agentVersion
            self.syncInterval = syncInterval
            self.callTimeout = callTimeout
        }
    }

    private let settings: Settings
    private let logger: Logger
    /// Whether the server said that it cannot push.
    private let pollsOnly = NIOLockedValueBox(false)

    package init(settings: Settings, logger: Logger) {
        self.settings = settings
        self.logger = logger
    }

    /// How long a client may take to let go of its connection.
    private static var farewellTime: Duration { .seconds(3) }

    // MARK: ServerConnection

    package func attest(
        joinToken: String, key: ManagedKey, trust: ServerTrust
    ) async throws -> NodeAttestationResult {
        try await self.withClient(identity: nil, trust) { client in
            let csr = try SigningRequest.der(for: key.privateKey)
            let agents = Spire_Api_Server_Agent_V1_Agent.Client(wrapping: client)
            let result = try await agents.attestAgent(options: self.options) { writer in
                try await writer.write(
                    .with {
                        $0.params = .with {
                            $0.data = .with {
                                $0.type = "join_token"
                                $0.payload = Data(joinToken.utf8)
                            }
                            $0.params = .with { $0.csr = Data(csr) }
                        }
                    })
            } onResponse: { response in
                for try await message in response.messages {
                    if case .result(let result)? = message.step { return result }
                    throw ServerFailure(.denied, "the server sent a challenge for a join token")
                }
                throw ServerFailure(.unavailable, "the server ended attestation without a result")
            }
            let bundle = try await self.ownBundle(client)
            return NodeAttestationResult(
                chain: result.svid.certChain.map { [UInt8]($0) }, canReattest: result.reattestable,
                bundle: bundle)
        }
    }

    package func renew(
        _ identity: AgentIdentity, newKey: ManagedKey, trust: ServerTrust
    ) async throws -> [[UInt8]] {
        try await self.withClient(identity: identity, trust) { client in
            let csr = try SigningRequest.der(for: newKey.privateKey)
            let agents = Spire_Api_Server_Agent_V1_Agent.Client(wrapping: client)
            let response = try await agents.renewAgent(
                .with { $0.params = .with { $0.csr = Data(csr) } }, options: self.options)
            return response.svid.certChain.map { [UInt8]($0) }
        }
    }

    package func synchronise(
        as identity: AgentIdentity, trust: ServerTrust, session: any SyncSession
    ) async throws {
        let begins = Beginning(
            within: self.settings.callTimeout,
            else: ServerFailure(.unavailable, "the server did not take up the session in time"))
        try await begins.watch { try await self.synchronise(identity, trust, session, begins) }
    }

    private func synchronise(
        _ identity: AgentIdentity, _ trust: ServerTrust, _ session: any SyncSession,
        _ beginning: Beginning
    ) async throws {
        try await self.withClient(identity: identity, trust) { client in
            if !self.pollsOnly.withLockedValue({ $0 }) {
                do {
                    let push = PushSession(
                        client: client, agentVersion: self.settings.agentVersion,
                        logger: self.logger)
                    return try await push.run(session, begun: beginning.note)
                } catch let error as RPCError where error.code == .unimplemented {
                    self.logger.info(
                        "the server does not push; polling it instead",
                        metadata: [LogKeys.mode: "poll"])
                    self.pollsOnly.withLockedValue { $0 = true }
                }
            }
            // Its calls have deadlines of their own.
            beginning.note()
            let poll = PollSession(
                client: client, trustDomain: self.settings.trustDomain,
                agentVersion: self.settings.agentVersion, interval: self.settings.syncInterval,
                options: self.options, logger: self.logger)
            do { try await poll.run(session) } catch {
                // The next session tries push again: the server may have been replaced by one that
                // can.
                self.pollsOnly.withLockedValue { $0 = false }
                throw error
            }
        }
    }

    // MARK: Calls

    private func ownBundle(_ client: Client) async throws -> AgentBundle {
        let bundles = Spire_Api_Server_Bundle_V1_Bundle.Client(wrapping: client)
        let message = try await bundles.getBundle(.init(), options: self.options)
        return try AgentBundle(message)
    }

    private var options: CallOptions {
        var options = CallOptions.defaults
        options.timeout = self.settings.callTimeout
        options.waitForReady = false
        options.maxResponseMessageBytes = 64 * 1024 * 1024
        return options
    }

    /// Connects, runs `body`, disconnects. Every connection has a context of its own, so that each
    /// one is verified: nothing is resumed.
    private func withClient<Value: Sendable>(
        identity: AgentIdentity?, _ trust: ServerTrust,
        _ body: @escaping @Sendable (Client) async throws -> Value
    ) async throws -> Value {
        let verification = ServerVerification(trustDomain: self.settings.trustDomain, trust: trust)
        do {
            let transport = try self.transport(identity, verification)
            return try await Abandonable<Value>(grace: Self.farewellTime).run {
                try await withGRPCClient(transport: transport) { client in try await body(client) }
            }
        } catch let failure as ServerFailure {
            throw failure
        } catch let error as CancellationError {
            throw error
        } catch {
            if let reason = verification.refusal { throw ServerFailure(.untrusted, reason) }
            throw ServerFailure(error)
        }
    }

    private func transport(
        _ identity: AgentIdentity?, _ verification: ServerVerification
    ) throws -> Transport {
        let security: Transport.TransportSecurity
        let configure = { (tls: inout Transport.TransportSecurity.TLS) in
            tls.serverCertificateVerification = .noHostnameVerification
            tls.trustRoots = .certificates([])
            tls.customVerificationCallback = verification.callback
        }
        if let identity {
            security = .mTLS(
                certificateChain: identity.chain.map { .bytes($0, format: .der) },
                privateKey: .bytes(
                    Array(try identity.key.privateKey.serializeAsPEM().pemString.utf8), format: .pem
                ),
                configure: configure)
        } else {
            security = .tls(configure: configure)
        }
        let target: any ResolvableTarget
        if self.settings.host.utf8.contains(UInt8(ascii: ":")) {
            target = .ipv6(address: self.settings.host, port: self.settings.port)
        } else if self.settings.host.utf8.allSatisfy({ $0 == 46 || (48...57).contains($0) }) {
            target = .ipv4(address: self.settings.host, port: self.settings.port)
        } else {
            target = .dns(host: self.settings.host, port: self.settings.port)
        }
        return try Transport(
            target: target, transportSecurity: security,
            config: .defaults { config in
                // Reconnecting is the lifecycle's business; within a session be quick about it.
                config.backoff.initial = .milliseconds(200)
                config.backoff.max = .seconds(5)
                config.connection.flushCoalescing = nil
                config.connection.maxIdleTime = nil
            })
    }
}
