import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import NIOConcurrencyHelpers
public import SPIFFE
import SwiftProtobuf
import WorkloadAPIProto

/// A connection to the Workload API of this host.
///
/// Use it inside ``with(address:configuration:_:)``, or run ``run()`` in a task of your own for as long
/// as calls are made; without that, calls wait until they time out. Programs that need their identity
/// all the time take ``X509Source`` and ``JWTSource``, which stay fresh.
///
/// The connection is opened by the first call and again when it has ended. It is plaintext, as the
/// standard says: the server learns who is calling from the operating system.
public final class WorkloadAPIClient: Sendable {
    /// Where the Workload API is.
    public let address: WorkloadAPIAddress
    let configuration: WorkloadAPIConfiguration
    private let grpc: GRPCClient<HTTP2ClientTransport.Posix>
    /// Set once the server has said that it does not offer the WIT profile.
    let witRefusal = NIOLockedValueBox<WorkloadAPIError?>(nil)

    /// Makes a client; does not connect.
    ///
    /// - Parameters:
    ///   - address: Nil takes `SPIFFE_ENDPOINT_SOCKET`.
    ///   - configuration: Waits and limits of the connection.
    /// - Throws: ``WorkloadAPIError`` `noAddress` or `invalidAddress`.
    public init(
        address: WorkloadAPIAddress? = nil,
        configuration: WorkloadAPIConfiguration = WorkloadAPIConfiguration()
    ) throws(WorkloadAPIError) {
        let address = if let address { address } else { try WorkloadAPIAddress.resolve() }
        self.address = address
        self.configuration = configuration
        do {
            self.grpc = GRPCClient(
                transport: try Self.transport(address, configuration),
                interceptors: [SecurityHeader()])
        } catch {
            throw WorkloadAPIError(.failed, "cannot make a client for \(address)", cause: error)
        }
    }

    /// Keeps the connection until ``close()`` is called or the task is cancelled; then returns. May be
    /// called once.
    ///
    /// - Throws: ``WorkloadAPIError`` `alreadyRunning` or `stopped` when called again.
    public func run() async throws {
        do {
            try await self.grpc.runConnections()
        } catch {
            if Task.isCancelled { return }
            throw self.explain(error, "run")
        }
    }

    /// Lets calls that are under way end and refuses new ones; ``run()`` returns then.
    public func close() { self.grpc.beginGracefulShutdown() }

    /// Makes a client that lives as long as the body.
    ///
    /// ```swift
    /// let token = try await WorkloadAPIClient.with { client in
    ///     try await client.fetchJWTSVID(audience: ["reports"]).token
    /// }
    /// ```
    ///
    /// - Throws: What ``init(address:configuration:)`` or the body throws.
    public nonisolated(nonsending) static func with<Result: Sendable>(
        address: WorkloadAPIAddress? = nil,
        configuration: WorkloadAPIConfiguration = WorkloadAPIConfiguration(),
        _ body: (WorkloadAPIClient) async throws -> Result
    ) async throws -> Result {
        let client = try WorkloadAPIClient(address: address, configuration: configuration)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await client.run() }
            defer { group.cancelAll() }
            return try await body(client)
        }
    }

    /// Runs the body and, if asked to, the connection beside it.
    func whileRunning(
        _ runsConnection: Bool, _ body: () async throws(WorkloadAPIError) -> Void
    ) async throws(WorkloadAPIError) {
        guard runsConnection else { return try await body() }
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                // When it fails, so does each call of the body.
                group.addTask { try await self.run() }
                try await body()
            }
        } catch {
            throw self.explain(error, "run")
        }
    }

    // MARK: X.509

    /// Asks for the identities of this process and the bundles that go with them, once.
    ///
    /// - Throws: ``WorkloadAPIError``; `noIdentity` when there is none.
    public func fetchX509Context() async throws(WorkloadAPIError) -> X509Context {
        try X509Context(
            try await self.call("FetchX509SVID") { api, options in
                try await api.fetchX509SVID(.init(), options: options) { try await Self.first($0) }
            })
    }

    /// Asks for the X509-SVIDs of this process, once; the first is the default identity.
    ///
    /// - Throws: ``WorkloadAPIError``; `noIdentity` when there is none.
    public func fetchX509SVIDs() async throws(WorkloadAPIError) -> [SPIFFE.X509SVID] {
        try await self.fetchX509Context().svids
    }

    /// Asks for the X.509 bundles that this process may verify peers with, once.
    ///
    /// - Throws: ``WorkloadAPIError``.
    public func fetchX509Bundles() async throws(WorkloadAPIError) -> X509BundleSet {
        try X509Context.bundles(
            try await self.call("FetchX509Bundles") { api, options in
                try await api.fetchX509Bundles(.init(), options: options) {
                    try await Self.first($0)
                }
            })
    }

    // MARK: JWT

    /// Asks for a JWT-SVID of the default identity, or of the one named.
    ///
    /// - Parameters:
    ///   - audience: Whom the token is for; at least one, none of them empty.
    ///   - id: Nil takes the first identity in the server's order.
    /// - Throws: ``WorkloadAPIError``; `noAudience` without asking the server; `noIdentity` also when the
    ///   identity named is not one of this process.
    public func fetchJWTSVID(
        audience: [String], id: SPIFFEID? = nil
    ) async throws(WorkloadAPIError) -> SPIFFE.JWTSVID {
        let svids = try await self.fetchJWTSVIDs(audience: audience, id: id)
        guard let first = svids.first else {
            throw WorkloadAPIError(message: "JWTSVIDResponse has no SVID")
        }
        return first
    }

    /// Asks for one JWT-SVID of each identity, or of the one named; rules as
    /// ``fetchJWTSVID(audience:id:)``.
    public func fetchJWTSVIDs(
        audience: [String], id: SPIFFEID? = nil
    ) async throws(WorkloadAPIError) -> [SPIFFE.JWTSVID] {
        guard !audience.isEmpty, !audience.contains("") else {
            throw WorkloadAPIError(
                .noAudience, "a JWT-SVID needs at least one audience, and none may be empty")
        }
        let request = WorkloadAPIProto.JWTSVIDRequest.with {
            $0.audience = audience
            $0.spiffeID = id?.string ?? ""
        }
        let svids = try JWTMessages.svids(
            try await self.call("FetchJWTSVID") { api, options in
                try await api.fetchJWTSVID(request, options: options)
            })
        if let id, let other = svids.first(where: { $0.id != id }) {
            throw WorkloadAPIError(message: "asked for a JWT-SVID of \(id), got one of \(other.id)")
        }
        return svids
    }

    /// Lets the server check a JWT-SVID that a peer presented. The standard prefers this to checking in
    /// one's own process (Workload API §6.3).
    ///
    /// - Parameters:
    ///   - token: What the peer presented.
    ///   - audience: The validator's own name.
    /// - Throws: ``WorkloadAPIError`` `invalidRequest` when the token is refused.
    public func validateJWTSVID(
        _ token: String, audience: String
    ) async throws(WorkloadAPIError) -> ValidatedJWTSVID {
        guard !audience.isEmpty else {
            throw WorkloadAPIError(
                .noAudience, "the validator has no audience of its own to compare")
        }
        let request = WorkloadAPIProto.ValidateJWTSVIDRequest.with {
            $0.audience = audience
            $0.svid = token
        }
        return try ValidatedJWTSVID(
            try await self.call("ValidateJWTSVID") { api, options in
                try await api.validateJWTSVID(request, options: options)
            })
    }

    /// Asks for the JWT bundles that this process may verify tokens with, once.
    ///
    /// - Throws: ``WorkloadAPIError``.
    public func fetchJWTBundles() async throws(WorkloadAPIError) -> JWTBundleSet {
        try JWTMessages.bundles(
            try await self.call("FetchJWTBundles") { api, options in
                try await api.fetchJWTBundles(.init(), options: options) {
                    try await Self.first($0)
                }
            })
    }

    // MARK: Calling

    typealias API = SpiffeWorkloadAPI.Client<HTTP2ClientTransport.Posix>

    var api: API { API(wrapping: self.grpc) }

    var revocationAPI: Cygnet_Workload_V1_WorkloadRevocations.Client<HTTP2ClientTransport.Posix> {
        .init(wrapping: self.grpc)
    }

    var partnerLimitAPI: Cygnet_Workload_V1_PartnerLimits.Client<HTTP2ClientTransport.Posix> {
        .init(wrapping: self.grpc)
    }

    var custodyAPI: Cygnet_Workload_V1_Custody.Client<HTTP2ClientTransport.Posix> {
        .init(wrapping: self.grpc)
    }

    /// The options of every call.
    ///
    /// - Parameter timeout: Nil for streams.
    func options(timeout: Duration?) -> CallOptions {
        var options = CallOptions.defaults
        // Whether to wait for the server is decided by the caller, who wants to know that it is away.
        options.waitForReady = false
        options.timeout = timeout
        options.maxResponseMessageBytes = self.configuration.maximumMessageBytes
        return options
    }

    func explain(_ error: any Error, _ method: String) -> WorkloadAPIError {
        WorkloadAPIError(error, calling: method, at: self.address)
    }

    func call<Message: Sendable>(
        _ method: String, _ body: (API, CallOptions) async throws -> Message
    ) async throws(WorkloadAPIError) -> Message {
        do {
            return try await body(self.api, self.options(timeout: self.configuration.callTimeout))
        } catch {
            throw self.explain(error, method)
        }
    }

    /// The first message of a stream; the call ends with it.
    static func first<Message: Sendable>(
        _ response: StreamingClientResponse<Message>
    ) async throws -> Message {
        for try await message in response.messages { return message }
        throw WorkloadAPIError(.unavailable, "the stream ended before its first message")
    }

    private static func transport(
        _ address: WorkloadAPIAddress, _ configuration: WorkloadAPIConfiguration
    ) throws -> HTTP2ClientTransport.Posix {
        let target: any ResolvableTarget =
            switch address.endpoint {
            // The path would be the default authority, which HTTP/2 does not allow.
            case .unix(let path): .unixDomainSocket(path: path, authority: "localhost")
            case .ipv4(let host, let port): .ipv4(address: host, port: port)
            case .ipv6(let host, let port): .ipv6(address: host, port: port)
            }
        return try HTTP2ClientTransport.Posix(
            target: target, transportSecurity: .plaintext,
            config: .defaults {
                $0.http2.authority = "localhost"
                $0.backoff.initial = configuration.firstBackOff
                $0.backoff.max = configuration.longestBackOff
                $0.connection.flushCoalescing = nil
            })
    }
}

/// Puts the header on every call that tells the server that no confused proxy is calling (Workload
/// Endpoint §3).
private struct SecurityHeader: ClientInterceptor {
    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingClientRequest<Input>, context: ClientContext,
        next: (StreamingClientRequest<Input>, ClientContext) async throws
            -> StreamingClientResponse<Output>
    ) async throws -> StreamingClientResponse<Output> {
        var request = request
        request.metadata.replaceOrAddString("true", forKey: "workload.spiffe.io")
        return try await next(request, context)
    }
}
