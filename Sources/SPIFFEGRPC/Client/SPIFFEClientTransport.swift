public import GRPCCore
public import GRPCNIOTransportHTTP2Posix
import NIOCore
public import SPIFFE
import SPIFFETLS

/// A gRPC client transport over TLS that knows the server by its SPIFFE ID.
///
/// Give it to a `GRPCClient`. Host names play no part: the server must present an X509-SVID that verifies and that
/// the authorizer lets in, whatever address it was reached at.
///
/// ```swift
/// let transport = try SPIFFEClientTransport(
///     target: .dns(host: "reports.internal", port: 8443), svid: source, bundles: source,
///     authorizer: .exactly(reports))
/// try await withGRPCClient(transport: transport) { client in
///     // Calls.
/// }
/// ```
///
/// The sources are asked at each connection, so X509-SVIDs and bundles rotate without restart. A connection keeps
/// the identities of its handshake until it ends; servers bound its age.
public struct SPIFFEClientTransport: ClientTransport {
    /// Messages as they leave and arrive.
    public typealias Bytes = HTTP2ClientTransport.Posix.Bytes

    /// The call of such a transport that the present task is inside of. Not proof enough for what may only travel
    /// encrypted: handlers of its answer may make other calls, and inherit it.
    @TaskLocal private static var carriedCall: ClientContext?

    /// Whether the call with this context travels over such a transport.
    static func carries(_ context: ClientContext) -> Bool {
        guard let carried = self.carriedCall else { return false }
        return carried.descriptor == context.descriptor && carried.localPeer == context.localPeer
            && carried.remotePeer == context.remotePeer
    }

    private let base: HTTP2ClientTransport.Posix

    /// A client that presents its X509-SVID.
    ///
    /// - Parameters:
    ///   - target: Where the server is.
    ///   - svid: Who this client is; asked at each connection.
    ///   - bundles: Whose servers are believed; asked at each connection.
    ///   - authorizer: Which servers this client means to talk to; has no default on purpose.
    ///   - config: HTTP/2 and connection settings.
    ///   - serviceConfig: Retries, hedging and load balancing.
    ///   - revocation: What is done about servers whose SVIDs were taken back.
    ///   - onRefused: Told why a server was refused, for a log; a call fails with `UNAVAILABLE` only. Must not block.
    /// - Throws: `RuntimeError` when nothing can resolve the target.
    public init(
        target: any ResolvableTarget, svid: any X509SVIDSource, bundles: any X509BundleSource,
        authorizer: Authorizer, config: HTTP2ClientTransport.Posix.Config = .defaults,
        serviceConfig: ServiceConfig = ServiceConfig(),
        revocation: RevocationPolicy = .standard,
        onRefused: (@Sendable (any Error) -> Void)? = nil
    ) throws {
        try self.init(
            target,
            MTLSClientConfiguration(
                svid: svid, bundles: bundles, authorizer: authorizer, applicationProtocols: ["h2"],
                revocation: revocation),
            config, serviceConfig, onRefused)
    }

    /// A client that presents no certificate and is known by its JWT-SVIDs, see ``JWTSVIDClientInterceptor``.
    ///
    /// Parameters and errors are those of the other initialiser.
    public init(
        target: any ResolvableTarget, unauthenticatedWith bundles: any X509BundleSource,
        authorizer: Authorizer, config: HTTP2ClientTransport.Posix.Config = .defaults,
        serviceConfig: ServiceConfig = ServiceConfig(),
        revocation: RevocationPolicy = .standard,
        onRefused: (@Sendable (any Error) -> Void)? = nil
    ) throws {
        try self.init(
            target,
            MTLSClientConfiguration(
                unauthenticatedWith: bundles, authorizer: authorizer, applicationProtocols: ["h2"],
                revocation: revocation),
            config, serviceConfig, onRefused)
    }

    private init(
        _ target: any ResolvableTarget, _ tls: MTLSClientConfiguration,
        _ config: HTTP2ClientTransport.Posix.Config, _ serviceConfig: ServiceConfig,
        _ onRefused: (@Sendable (any Error) -> Void)?
    ) throws {
        var config = config
        let given = config.channelDebuggingCallbacks.onCreateTCPConnection
        config.channelDebuggingCallbacks.onCreateTCPConnection = { channel in
            // Before everything else in the pipeline, with a fresh context: the source is asked now.
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                    try tls.makeHandler(for: channel, onRefused: onRefused), position: .first)
            }.flatMap { given?(channel) ?? channel.eventLoop.makeSucceededVoidFuture() }
        }
        self.base = try HTTP2ClientTransport.Posix(
            target: target, transportSecurity: .customSecure, config: config,
            serviceConfig: serviceConfig)
    }

    /// How retries are held back; from the service configuration.
    public var retryThrottle: RetryThrottle? { self.base.retryThrottle }

    /// Keeps connections until the client ends; `GRPCClient` calls it.
    public func connect() async throws { try await self.base.connect() }

    /// Lets calls that are under way end and refuses new ones; `GRPCClient` calls it.
    public func beginGracefulShutdown() { self.base.beginGracefulShutdown() }

    /// The settings of a method; from the service configuration.
    public func config(forMethod descriptor: MethodDescriptor) -> MethodConfig? {
        self.base.config(forMethod: descriptor)
    }

    /// Carries one call; `GRPCClient` calls it.
    ///
    /// - Throws: `RPCError` when there is no connection, or what the closure throws.
    public func withStream<Result: Sendable>(
        descriptor: MethodDescriptor, options: CallOptions,
        _ closure: (RPCStream<Inbound, Outbound>, ClientContext) async throws -> Result
    ) async throws -> Result {
        try await self.base.withStream(descriptor: descriptor, options: options) {
            stream, context in
            try await Self.$carriedCall.withValue(context) { try await closure(stream, context) }
        }
    }
}
