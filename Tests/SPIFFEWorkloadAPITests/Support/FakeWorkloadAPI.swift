import Foundation
import GRPCCore
import NIOConcurrencyHelpers
import SPIFFEGRPC
import SPIFFEWorkloadAPI
import WorkloadAPIProto

/// A Workload API that does what a test says, on a Unix socket of its own.
struct FakeWorkloadAPI: SpiffeWorkloadAPI.SimpleServiceProtocol {
    /// Serves one stream; the number counts the streams from 0.
    typealias X509Stream = @Sendable (Int, RPCWriter<X509SVIDResponse>) async throws -> Void

    var x509: X509Stream = { _, _ in throw RPCError(code: .unavailable, message: "not scripted") }
    var x509Bundles: [String: Data] = [:]
    var jwtBundles: [String: Data] = [:]
    var tokens: [WorkloadAPIProto.JWTSVID] = []
    var validated = ValidateJWTSVIDResponse()
    /// Nil: the WIT profile is not offered.
    var wit: (svids: [WorkloadAPIProto.WITSVID], bundles: [String: String])?
    let record = CallRecord()

    func fetchX509SVID(
        request: X509SVIDRequest, response: RPCWriter<X509SVIDResponse>, context: ServerContext
    ) async throws {
        try await self.x509(self.record.count("FetchX509SVID") - 1, response)
    }

    func fetchX509Bundles(
        request: X509BundlesRequest, response: RPCWriter<X509BundlesResponse>,
        context: ServerContext
    ) async throws {
        var message = X509BundlesResponse()
        message.bundles = self.x509Bundles
        try await response.write(message)
    }

    func fetchJWTSVID(
        request: JWTSVIDRequest, context: ServerContext
    ) async throws -> JWTSVIDResponse {
        var message = JWTSVIDResponse()
        message.svids = self.tokens
        return message
    }

    func fetchJWTBundles(
        request: JWTBundlesRequest, response: RPCWriter<JWTBundlesResponse>, context: ServerContext
    ) async throws {
        var message = JWTBundlesResponse()
        message.bundles = self.jwtBundles
        try await response.write(message)
        try await Self.hold()
    }

    func validateJWTSVID(
        request: ValidateJWTSVIDRequest, context: ServerContext
    ) async throws -> ValidateJWTSVIDResponse { self.validated }

    func fetchWITSVID(
        request: WITSVIDRequest, response: RPCWriter<WITSVIDResponse>, context: ServerContext
    ) async throws {
        guard let wit = self.wit else {
            throw RPCError(code: .unimplemented, message: "no WIT profile")
        }
        var message = WITSVIDResponse()
        message.svids = wit.svids
        try await response.write(message)
        try await Self.hold()
    }

    func fetchWITBundles(
        request: WITBundlesRequest, response: RPCWriter<WITBundlesResponse>, context: ServerContext
    ) async throws {
        guard let wit = self.wit else {
            throw RPCError(code: .unimplemented, message: "no WIT profile")
        }
        var message = WITBundlesResponse()
        message.bundles = wit.bundles
        try await response.write(message)
        try await Self.hold()
    }

    /// Keeps a stream open until the server ends.
    static func hold() async throws { try await Task.sleep(for: .seconds(3600)) }

    /// Sends what comes from the feed, then fails with its error or ends.
    static func feed(
        _ messages: AsyncThrowingStream<X509SVIDResponse, any Error>,
        to writer: RPCWriter<X509SVIDResponse>
    ) async throws {
        for try await message in messages { try await writer.write(message) }
    }
}

/// Notes each call with the value of its security header.
final class CallRecord: ServerInterceptor {
    private let calls = NIOLockedValueBox<[(method: String, header: [String])]>([])

    func count(_ method: String) -> Int {
        self.calls.withLockedValue { calls in calls.count { $0.method == method } }
    }

    var headers: [String: [String]] {
        self.calls.withLockedValue { calls in
            Dictionary(calls.map { ($0.method, $0.header) }) { $0 + $1 }
        }
    }

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws
            -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let header = request.metadata[stringValues: "workload.spiffe.io"].map { String($0) }
        self.calls.withLockedValue { $0.append((context.descriptor.method, header)) }
        return try await next(request, context)
    }
}

/// A Unix socket path of its own for each test.
struct TestSocket {
    let path = FileManager.default.temporaryDirectory
        .appendingPathComponent("wapi-\(UUID().uuidString.prefix(8)).sock").path

    func address() throws -> WorkloadAPIAddress { try WorkloadAPIAddress("unix:" + self.path) }

    /// Serves the fake as long as the body runs.
    func serving<Result: Sendable>(
        _ fake: FakeWorkloadAPI, _ body: () async throws -> Result
    ) async throws -> Result {
        let server = GRPCServer(
            transport: SPIFFEServerTransport(listener: .unixSocket(path: self.path, mode: 0o600)),
            services: [fake], interceptors: [fake.record])
        defer { try? FileManager.default.removeItem(atPath: self.path) }
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            defer { group.cancelAll() }
            _ = await server.transport.boundPort
            return try await body()
        }
    }
}

/// Waits are short in tests, and their number does not matter.
var quick: WorkloadAPIConfiguration {
    var configuration = WorkloadAPIConfiguration()
    configuration.firstBackOff = .milliseconds(5)
    configuration.longestBackOff = .milliseconds(20)
    configuration.callTimeout = .seconds(20)
    return configuration
}

/// How long a test waits for what should come at once.
let patience: Duration = .seconds(20)
