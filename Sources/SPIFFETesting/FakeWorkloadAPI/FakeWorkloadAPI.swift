import Foundation
import GRPCCore
import NIOConcurrencyHelpers
public import SPIFFE
import SPIFFEGRPC
public import SPIFFEWorkloadAPI
import SwiftProtobuf
package import WorkloadAPIProto

/// A Workload API on a Unix socket of its own that says what the test wants, so that programs can be tested
/// as they are, without server and agent.
///
/// It begins as an agent that knows no identity for its caller. What is set reaches open streams at once, as a real
/// agent pushes it, and new ones from then on.
///
/// ```swift
/// let authority = try TestAuthority("example.org")
/// let api = try FakeWorkloadAPI()
/// try api.serve(authority, paths: ["/web"])
/// try await api.serving {
///     try await withX509Source(address: api.address) { source in
///         print(try source.x509SVID().id)
///     }
/// }
/// ```
public final class FakeWorkloadAPI: Sendable {
    /// The path of the socket.
    public let socketPath: String
    /// Where clients find it; what `SPIFFE_ENDPOINT_SOCKET` is to be set to is its description.
    public let address: WorkloadAPIAddress

    let x509 = FakeStreams<X509SVIDResponse>()
    let x509Bundles = FakeStreams<X509BundlesResponse>()
    let jwtBundles = FakeStreams<JWTBundlesResponse>()
    // The WIT profile is optional: not supported until a test sends something.
    let wit = FakeStreams<WITSVIDResponse>(.notSupported)
    let witBundles = FakeStreams<WITBundlesResponse>(.notSupported)
    let revocations = FakeStreams<Cygnet_Workload_V1_FetchRevocationsResponse>()
    // As an agent of others, until a test serves limits.
    let partnerLimits = FakeStreams<Cygnet_Workload_V1_FetchPartnerLimitsResponse>(.notSupported)
    let state = NIOLockedValueBox(FakeState())

    /// - Parameter socketPath: Must be free; nil takes a new one in the folder for temporary files.
    /// - Throws: `WorkloadAPIError` `invalidAddress` when the path does not fit a socket.
    public init(socketPath: String? = nil) throws {
        let path =
            socketPath
            ?? FileManager.default.temporaryDirectory
            .appendingPathComponent("wapi-\(UUID().uuidString.prefix(8)).sock").path
        self.socketPath = path
        self.address = try WorkloadAPIAddress("unix:" + path)
        self.revocations.set(.success(.init()))
    }

    // MARK: Running

    /// Serves as long as the body runs; may be called again afterwards, as an agent that was restarted.
    ///
    /// - Throws: What the body throws, or why the socket cannot be bound.
    public nonisolated(nonsending) func serving<Result: Sendable>(
        _ body: () async throws -> Result
    ) async throws -> Result {
        let server = GRPCServer(
            transport: SPIFFEServerTransport(
                listener: .unixSocket(path: self.socketPath, mode: 0o600)),
            services: [
                FakeWorkloadAPIService(api: self), FakeRevocationService(api: self),
                FakePartnerLimitService(api: self),
            ])
        defer { try? FileManager.default.removeItem(atPath: self.socketPath) }
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            defer { group.cancelAll() }
            _ = await server.transport.boundPort
            // Nobody listens when the socket could not be bound; then the server's error says why.
            if !FileManager.default.fileExists(atPath: self.socketPath) { try await group.next() }
            return try await body()
        }
    }

    // MARK: What it says

    /// Serves identities of an authority in every way: X509-SVIDs, tokens, validation and bundles.
    ///
    /// Each call issues new X509-SVIDs, so calling it again is a rotation.
    ///
    /// - Parameters:
    ///   - authority: Who issues them.
    ///   - paths: The paths of the caller's SPIFFE IDs; the first is the default identity.
    ///   - federated: Whom it may believe beside its own trust domain.
    /// - Throws: `SPIFFEIDError` for a path.
    public func serve(
        _ authority: TestAuthority, paths: [String], federatedWith federated: [TestAuthority] = []
    ) throws {
        let authorities = [authority] + federated
        self.set(
            x509: X509Context(
                svids: try paths.map { try authority.x509SVID($0) },
                bundles: X509BundleSet(try authorities.map { try $0.x509Bundle })))
        self.set(jwtBundles: JWTBundleSet(authorities.map(\.jwtBundle)))
        let ids = try paths.map { try authority.id($0) }
        self.setJWTSVIDs { audience, id in
            try ids.filter { id == nil || $0 == id }
                .map { try authority.jwtSVID($0.path, audience: audience) }
        }
    }

    /// Sets the X509-SVIDs and X.509 bundles. An empty context withdraws the identity.
    ///
    /// Bundles of trust domains that no SVID belongs to are sent as federated ones.
    public func set(x509 context: X509Context) {
        guard !context.svids.isEmpty else {
            self.x509.set(.failure(Failure.noIdentity.rpcError))
            self.x509Bundles.set(.failure(Failure.noIdentity.rpcError))
            return
        }
        self.x509.set(.success(X509SVIDResponse(context)))
        self.x509Bundles.set(.success(X509BundlesResponse(context)))
    }

    /// Sets the JWT bundles; they are also what ``Method/validateJWTSVID`` goes by.
    public func set(jwtBundles bundles: JWTBundleSet) {
        self.state.withLockedValue { $0.jwtBundles = bundles }
        self.jwtBundles.set(
            bundles.bundles.isEmpty
                ? .failure(Failure.noIdentity.rpcError) : .success(JWTBundlesResponse(bundles)))
    }

    /// Serves what these authorities have taken back, to open and new streams; call it again after each
    /// revocation.
    public func serveRevocations(of authorities: [TestAuthority]) throws {
        self.send(
            try Cygnet_Workload_V1_FetchRevocationsResponse.with { response in
                response.trustDomains = try authorities.map { try $0.revocationMessage() }
            })
    }

    /// Sets who answers requests for tokens.
    ///
    /// - Parameter issue: Gets the audience and the identity asked for, if one was; no token is "no identity".
    public func setJWTSVIDs(
        _ issue:
            @escaping @Sendable (_ audience: [String], _ id: SPIFFEID?) throws -> [SPIFFE.JWTSVID]
    ) {
        self.state.withLockedValue { $0.issue = issue }
    }

    // MARK: Trouble

    /// Answers calls of a method with an error from now on, and ends its open streams with it. What was set is
    /// remembered.
    public func fail(_ method: Method, with failure: Failure) {
        self.state.withLockedValue { $0.failures[method] = failure }
        self.interrupt(method, .failure(failure.rpcError))
    }

    /// Ends ``fail(_:with:)``: new calls get what is set.
    public func recover(_ method: Method) {
        self.state.withLockedValue { $0.failures[method] = nil }
    }

    /// Ends the open streams of a method with an error, once; new ones get what is set.
    public func breakStreams(_ method: Method, with failure: Failure) {
        self.interrupt(method, .failure(failure.rpcError))
    }

    /// Ends the open streams of a method without an error, as an agent may at any time.
    public func endStreams(_ method: Method) { self.interrupt(method, .end) }

    /// Answers calls of a method only after this long; zero ends it.
    public func delay(_ method: Method, by duration: Duration) {
        self.state.withLockedValue { $0.delays[method] = duration }
    }

    private func interrupt(_ method: Method, _ event: FakeStreamEnd) {
        switch method {
        case .fetchX509SVID: self.x509.interrupt(event)
        case .fetchX509Bundles: self.x509Bundles.interrupt(event)
        case .fetchJWTBundles: self.jwtBundles.interrupt(event)
        case .fetchWITSVID: self.wit.interrupt(event)
        case .fetchWITBundles: self.witBundles.interrupt(event)
        case .fetchRevocations: self.revocations.interrupt(event)
        case .fetchPartnerLimits: self.partnerLimits.interrupt(event)
        default: break
        }
    }

    // MARK: What was asked

    /// How many calls of a method there were; each attempt of a client that retries counts.
    public func callCount(of method: Method) -> Int {
        self.state.withLockedValue { $0.calls[method, default: []].count }
    }

    /// Returns as soon as there were this many calls of a method, or the task is cancelled.
    public func waitForCalls(of method: Method, atLeast count: Int) async {
        let (arrivals, arrived) = AsyncStream.makeStream(of: Void.self)
        let key = UUID()
        self.state.withLockedValue { $0.watchers[key] = arrived }
        defer { self.state.withLockedValue { $0.watchers[key] = nil } }
        if self.callCount(of: method) >= count { return }
        for await _ in arrivals where self.callCount(of: method) >= count { return }
    }

    /// The values of the security header of each call so far.
    package func securityHeaders(of method: Method) -> [[String]] {
        self.state.withLockedValue { $0.calls[method, default: []] }
    }

    // MARK: Raw messages

    /// Sends a message as it is to open and new streams, also one that breaks the rules.
    package func send(_ message: X509SVIDResponse) { self.x509.set(.success(message)) }

    /// Likewise for X.509 bundles.
    package func send(_ message: X509BundlesResponse) { self.x509Bundles.set(.success(message)) }

    /// Likewise for JWT bundles.
    package func send(_ message: JWTBundlesResponse) { self.jwtBundles.set(.success(message)) }

    /// Likewise for WIT-SVIDs.
    package func send(_ message: WITSVIDResponse) { self.wit.set(.success(message)) }

    /// Likewise for WIT bundles.
    package func send(_ message: WITBundlesResponse) { self.witBundles.set(.success(message)) }

    /// Likewise for what was taken back.
    package func send(_ message: Cygnet_Workload_V1_FetchRevocationsResponse) {
        self.revocations.set(.success(message))
    }

    /// Answers requests for tokens and for their validation with these messages, whatever was asked.
    package func answer(
        tokens: WorkloadAPIProto.JWTSVIDResponse? = nil, validation: ValidateJWTSVIDResponse? = nil
    ) {
        self.state.withLockedValue { state in
            state.rawTokens = tokens
            state.rawValidation = validation
        }
    }
}
