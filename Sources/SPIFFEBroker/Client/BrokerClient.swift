import GRPCCore
import GRPCNIOTransportHTTP2Posix
import GRPCProtobuf
public import SPIFFE
import SPIFFETLS
public import SPIFFEWorkloadAPI
import SwiftProtobuf
import WorkloadAPIProto

/// A connection to the Broker API: identities and bundles of workloads, for a broker that acts for them.
///
/// Incubating, as the standard is. Use it inside ``with(address:svid:bundles:server:configuration:_:)``, or run
/// ``run()`` in a task of your own for as long as calls are made; without that, calls wait until they time out.
///
/// Everything that a call gives belongs to the workload of its reference and to no other (Broker API §4.2): keep
/// it apart, and drop it when the workload has ended. ``BrokeredX509Source`` does both for one workload.
public final class BrokerClient: Sendable {
    /// Where the Broker Endpoint is.
    public let address: BrokerAddress
    let configuration: BrokerConfiguration
    private let connections: BrokerConnections

    /// Makes a client; does not connect.
    ///
    /// - Parameters:
    ///   - address: Nil takes `SPIFFE_BROKER_SOCKET`.
    ///   - svid: The broker's own identity, such as an `X509Source`; asked at each call.
    ///   - bundles: Whom the broker believes; asked at each handshake.
    ///   - server: Which servers the broker means to talk to. Poisoned identities come from whoever is let in here,
    ///     so there is no default; for an agent `.path("/spire/agent/**", in: …)` is a beginning.
    ///   - configuration: Waits, limits and logging.
    /// - Throws: ``BrokerError`` `noAddress` or `invalidAddress`.
    public init(
        address: BrokerAddress? = nil, svid: any X509SVIDSource, bundles: any X509BundleSource,
        server: Authorizer, configuration: BrokerConfiguration = BrokerConfiguration()
    ) throws(BrokerError) {
        let address = if let address { address } else { try BrokerAddress.resolve() }
        self.address = address
        self.configuration = configuration
        self.connections = BrokerConnections(
            address, svid: svid,
            verifier: TLSPeerVerifier(bundles: bundles, authorizer: server), configuration)
    }

    /// Keeps the connection until ``close()`` is called or the task is cancelled; then returns. May be called once.
    ///
    /// - Throws: ``BrokerError`` `alreadyRunning` when called again.
    public func run() async throws(BrokerError) { try await self.connections.run() }

    /// Lets calls that are under way end and refuses new ones; ``run()`` returns then.
    public func close() { self.connections.close() }

    /// Makes a client that lives as long as the body.
    ///
    /// - Throws: What ``init(address:svid:bundles:server:configuration:)`` or the body throws.
    public static func with<Result: Sendable>(
        address: BrokerAddress? = nil, svid: any X509SVIDSource, bundles: any X509BundleSource,
        server: Authorizer, configuration: BrokerConfiguration = BrokerConfiguration(),
        _ body: (BrokerClient) async throws -> Result
    ) async throws -> Result {
        let client = try BrokerClient(
            address: address, svid: svid, bundles: bundles, server: server,
            configuration: configuration)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await client.run() }
            defer { group.cancelAll() }
            return try await body(client)
        }
    }

    // MARK: X.509

    /// Asks for the identities of a workload and the bundles that go with them, once.
    ///
    /// - Throws: ``BrokerError``; `workloadNotFound`, `permissionDenied`.
    public func fetchX509Context(
        of workload: WorkloadReference
    ) async throws(BrokerError) -> X509Context {
        let message: X509SVIDResponse = try await self.first(
            workload, Spiffe_Broker_API.Method.SubscribeToX509SVID.descriptor,
            Spiffe_Broker_SubscribeToX509SVIDRequest.with { $0.reference = workload.message })
        return try Self.read { () throws(WorkloadAPIError) in try X509Context(message) }
    }

    /// Asks for the X.509 bundles that a workload may verify peers with, once; not for any other workload.
    ///
    /// - Throws: As ``fetchX509Context(of:)``.
    public func fetchX509Bundles(
        of workload: WorkloadReference
    ) async throws(BrokerError) -> X509BundleSet {
        let message: X509BundlesResponse = try await self.first(
            workload, Spiffe_Broker_API.Method.SubscribeToX509Bundles.descriptor,
            Spiffe_Broker_SubscribeToX509BundlesRequest.with { $0.reference = workload.message })
        return try Self.read { () throws(WorkloadAPIError) in try X509Context.bundles(message) }
    }

    // MARK: JWT

    /// Asks for one JWT-SVID of each identity of a workload, or of the one named; the first is the default.
    ///
    /// - Parameters:
    ///   - workload: Whose tokens.
    ///   - audience: Whom the tokens are for; at least one, none of them empty.
    ///   - id: Only this identity; nil for all.
    /// - Throws: ``BrokerError``; `noAudience` without asking the server; `permissionDenied` also when the identity
    ///   named is not one of the workload's.
    public func fetchJWTSVIDs(
        of workload: WorkloadReference, audience: [String], id: SPIFFEID? = nil
    ) async throws(BrokerError) -> [SPIFFE.JWTSVID] {
        guard !audience.isEmpty, !audience.contains("") else {
            throw BrokerError(
                .noAudience, "a JWT-SVID needs at least one audience, and none may be empty")
        }
        let request = Spiffe_Broker_FetchJWTSVIDRequest.with {
            $0.reference = workload.message
            $0.audience = audience
            $0.spiffeID = id?.string ?? ""
        }
        let message: JWTSVIDResponse = try await self.first(
            workload, Spiffe_Broker_API.Method.FetchJWTSVID.descriptor, request)
        let svids = try Self.read { () throws(WorkloadAPIError) in try JWTMessages.svids(message) }
        if let id, let other = svids.first(where: { $0.id != id }) {
            throw BrokerError(
                .invalidResponse, "asked for a JWT-SVID of \(id), got one of \(other.id)")
        }
        return svids
    }

    /// Asks for the JWT bundles that a workload may verify tokens with, once; not for any other workload.
    ///
    /// - Throws: As ``fetchX509Context(of:)``.
    public func fetchJWTBundles(
        of workload: WorkloadReference
    ) async throws(BrokerError) -> JWTBundleSet {
        let message: JWTBundlesResponse = try await self.first(
            workload, Spiffe_Broker_API.Method.SubscribeToJWTBundles.descriptor,
            Spiffe_Broker_SubscribeToJWTBundlesRequest.with { $0.reference = workload.message })
        return try Self.read { () throws(WorkloadAPIError) in try JWTMessages.bundles(message) }
    }

    // MARK: Calling

    /// What every call carries, so that no confused proxy can make one (Broker Endpoint §3).
    private static var header: Metadata { ["broker.spiffe.io": "true"] }

    /// What reads a message; what is wrong with it is an error of this module.
    static func read<Value>(
        _ body: () throws(WorkloadAPIError) -> Value
    ) throws(BrokerError) -> Value {
        do throws(WorkloadAPIError) { return try body() } catch {
            throw BrokerError(
                .invalidResponse, "answer of the Broker API discarded: \(error.message)",
                cause: error)
        }
    }

    /// The first message of a call, which ends with it.
    private func first<Request: Message, Response: Message>(
        _ workload: WorkloadReference, _ method: MethodDescriptor, _ request: Request
    ) async throws(BrokerError) -> Response {
        try await self.call(
            workload, method, request, timeout: self.configuration.callTimeout
        ) { (messages: RPCAsyncSequence<Response, any Error>) -> Response in
            for try await message in messages { return message }
            throw BrokerError(.unavailable, "the stream ended before its first message")
        }
    }

    /// Makes a call. The responses have the fields of the Workload API's, and are read as such.
    func call<Request: Message, Response: Message, Value: Sendable>(
        _ workload: WorkloadReference, _ method: MethodDescriptor, _ request: Request,
        timeout: Duration?,
        _ body:
            @escaping @Sendable (RPCAsyncSequence<Response, any Error>) async throws -> Value
    ) async throws(BrokerError) -> Value {
        if workload.isLocal, !self.address.isLocal {
            throw BrokerError(
                .referenceNotLocal,
                "\(workload) means something on this node only, and \(self.address) may be another one; "
                    + "use a Unix socket or the loopback interface")
        }
        try workload.checkAlive()
        let connection = try self.connections.connection()
        var options = CallOptions.defaults
        // Whether to wait for the server is decided by the caller, who wants to know that it is away.
        options.waitForReady = false
        options.timeout = timeout
        options.maxResponseMessageBytes = self.configuration.maximumMessageBytes
        do {
            return try await connection.client.serverStreaming(
                request: ClientRequest(message: request, metadata: Self.header),
                descriptor: method, serializer: ProtobufSerializer<Request>(),
                deserializer: ProtobufDeserializer<Response>(), options: options
            ) { response in
                try await body(response.messages)
            }
        } catch {
            let failure = BrokerError(
                error, calling: method.method, at: self.address, refusal: connection.refusal)
            if failure.code == .unauthenticated { self.connections.refused(connection) }
            throw failure
        }
    }
}
