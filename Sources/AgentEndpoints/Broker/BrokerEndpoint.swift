import AgentCore
import ControlPlaneProto
import Foundation
import GRPCCore
import Logging
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFEGRPC
import SPIFFETLS
import ServiceRuntime

/// The SPIFFE Broker Endpoint: the Broker API over mutual TLS, on a Unix socket, on TCP, or on both.
///
/// Who is not on the list of brokers does not get through the handshake.
final class BrokerEndpoint: Sendable {
    private let settings: BrokerSettings
    private let local: GRPCServer<SPIFFEServerTransport>?
    private let tcp: GRPCServer<SPIFFEServerTransport>?
    private let api: WorkloadAPI
    private let logger: Logger

    /// - Parameters:
    ///   - svid: The agent's own identity; asked at each handshake.
    ///   - bundles: Whose brokers are believed; asked at each handshake.
    ///   - maximumCalls: Calls of all brokers that may be open at once.
    ///   - now: The time that X509-SVIDs of brokers are held against after the handshake.
    init(
        settings: BrokerSettings, api: WorkloadAPI, svid: any X509SVIDSource,
        bundles: any X509BundleSource, maximumCalls: Int = 20_000, logger: Logger,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.settings = settings
        self.api = api
        self.logger = logger
        // Both listeners share what is known about processes.
        let service = BrokerService(
            api: api, brokers: settings.brokers, maximumCalls: maximumCalls, logger: logger,
            now: now)
        let mutual = MTLSServerConfiguration(
            svid: svid, bundles: bundles, authorizer: .oneOf(settings.brokers.map(\.id)),
            applicationProtocols: ["h2"])
        let refused = RefusedHandshakes(logger)
        self.local = settings.socketPath.map { path in
            Self.server(
                .tlsOnUnixSocket(
                    path: path, mode: 0o770,
                    makeHandler: { channel, onVerified in
                        try mutual.makeHandler(
                            for: channel, onVerified: onVerified,
                            onRefused: { error in refused.note(error) })
                    }), service)
        }
        self.tcp = settings.host.map { host in
            Self.server(
                .tls(
                    host: host, port: settings.port,
                    makeHandler: { channel, onVerified in
                        try mutual.makeHandler(
                            for: channel, onVerified: onVerified,
                            onRefused: { error in refused.note(error) })
                    }), service)
        }
    }

    private static func server(
        _ listener: PeerListener, _ service: BrokerService
    ) -> GRPCServer<SPIFFEServerTransport> {
        let reflection = ReflectionService(BrokerEndpointDescriptors.base64)
        return GRPCServer(
            transport: SPIFFEServerTransport(
                listener: listener,
                settings: SPIFFEServerTransport.Settings(
                    // Some streams for each workload of a node.
                    maxConcurrentStreams: 10_000, maxRequestBytes: 64 * 1024,
                    maxBufferedBytes: 256 * 1024, streamWindow: 64 * 1024,
                    maxConnectionsPerAddress: 128, maxConnectionsPerUser: 128, maxConnections: 256,
                    maxCalls: 32_768, maxHeldBytes: 256 * 1024 * 1024),
                services: [service]),
            services: [ReflectionV1(service: reflection), ReflectionV1Alpha(service: reflection)],
            interceptors: [BrokerInterceptor()])
    }

    /// The TCP port that is served; waits until it is bound. Nil without TCP or after closing.
    var boundPort: Int? {
        get async {
            guard let tcp = self.tcp else { return nil }
            return await tcp.transport.boundPort
        }
    }

    /// Returns once everything is bound, or has failed.
    func waitUntilBound() async {
        _ = await self.local?.transport.boundPort
        _ = await self.tcp?.transport.boundPort
    }

    /// Serves until the task is cancelled.
    ///
    /// - Throws: ``AgentError`` `state` naming the place when it cannot be bound; ``FileError`` when something
    ///   is at the path of the socket.
    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let local = self.local, let path = self.settings.socketPath {
                try UnixSocketPath(path).prepare(directoryMode: 0o750)
                group.addTask {
                    defer { unlink(path) }
                    try await self.serve(local, at: path)
                }
            }
            if let tcp = self.tcp, let host = self.settings.host {
                group.addTask { try await self.serve(tcp, at: "\(host):\(self.settings.port)") }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func serve(
        _ server: GRPCServer<SPIFFEServerTransport>, at place: String
    ) async throws {
        self.logger.info("serving the Broker API", metadata: [LogKeys.address: "\(place)"])
        do {
            try await Farewell.serve(server) { [api] in api.identities.stop() }
        } catch let error as RuntimeError {
            throw AgentError(
                .state,
                "cannot serve the Broker API on \(place): "
                    + (error.cause.map { "\($0)" } ?? error.message))
        }
    }
}

/// Asks for the security header, and for a caller whose X509-SVID still holds, on what gRPC's router serves:
/// no service of this endpoint does without (Broker Endpoint §3).
struct BrokerInterceptor: ServerInterceptor {
    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws ->
            StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        do throws(BrokerRefusal) {
            let values = request.metadata[stringValues: BrokerCaller.headerName].map { $0 }
            guard BrokerCaller.isComplete(values) else { throw .noSecurityHeader }
            _ = try BrokerCaller.verified(context.peerContext)
        } catch {
            throw RPCError(code: error.code, message: error.message)
        }
        return try await next(request, context)
    }
}

/// Says in the log who tried to be a broker, once a minute at most: anybody who can connect could fill it.
private final class RefusedHandshakes: Sendable {
    private static let interval = Duration.seconds(60)

    private struct State {
        var lastWord: ContinuousClock.Instant?
        var unmentioned = 0
    }

    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    init(_ logger: Logger) { self.logger = logger }

    func note(_ error: any Error) {
        let now = ContinuousClock.now
        let unmentioned: Int? = self.state.withLockedValue { state in
            if let last = state.lastWord, last.duration(to: now) < Self.interval {
                state.unmentioned += 1
                return nil
            }
            defer { state = State(lastWord: now) }
            return state.unmentioned
        }
        guard let unmentioned else { return }
        self.logger.warning(
            "caller of the Broker API refused",
            metadata: [LogKeys.error: "\(error)", "unmentioned": "\(unmentioned)"])
    }
}
