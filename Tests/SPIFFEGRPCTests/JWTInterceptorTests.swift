import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFEGRPC
import SPIFFETesting
import Testing

/// A header that must not let a call in.
struct BadHeader: Sendable, CustomTestStringConvertible {
    let name: String
    let values: @Sendable (TestAuthority) throws -> [String]
    var testDescription: String { self.name }

    static let all = [
        BadHeader(name: "none") { _ in [] },
        BadHeader(name: "another scheme") { _ in ["Basic dTpw"] },
        BadHeader(name: "no token") { _ in ["Bearer"] },
        BadHeader(name: "garbage") { _ in ["Bearer x.y.z"] },
        BadHeader(name: "two headers") {
            let token = try $0.jwtSVID("/web", audience: ["echo"]).token
            return ["Bearer \(token)", "Bearer \(token)"]
        },
        BadHeader(name: "two tokens") {
            let token = try $0.jwtSVID("/web", audience: ["echo"]).token
            return ["Bearer \(token) \(token)"]
        },
        BadHeader(name: "another audience") {
            ["Bearer \(try $0.jwtSVID("/web", audience: ["other"]).token)"]
        },
        BadHeader(name: "expired") {
            let past = Date() - 3600
            return [
                "Bearer \(try $0.jwtSVID("/web", audience: ["echo"], expiresAt: past).token)"
            ]
        },
        BadHeader(name: "another authority") { _ in
            let impostor = try TestAuthority("acme.test")
            return ["Bearer \(try impostor.jwtSVID("/web", audience: ["echo"]).token)"]
        },
    ]
}

@Suite("JWT-SVIDs on gRPC calls", .timeLimit(.minutes(1))) struct JWTInterceptorTests {
    private let acme: TestAuthority
    private let server: TestX509Source
    private let client: TestX509Source
    private let tokens: TestJWTSource

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.server = try TestX509Source(self.acme, "/server")
        self.client = try TestX509Source(self.acme, "/gateway")
        self.tokens = TestJWTSource(self.acme, "/web")
    }

    private func interceptor(
        _ authorizer: Authorizer? = nil, refused: NIOLockedValueBox<[String]>? = nil
    ) throws -> JWTSVIDServerInterceptor {
        JWTSVIDServerInterceptor(
            JWTSVIDAuthenticator(
                audience: "echo", bundles: self.tokens,
                authorizer: try authorizer ?? .exactly(self.acme.id("/web"))),
            onRefused: { error, _ in refused?.withLockedValue { $0.append(error.code.description) }
            }
        )
    }

    @Test(
        "JWT-24: the handler knows the token's subject and the client of the connection, and sees no header"
    )
    func identity() async throws {
        try await EchoEndpoint.with(
            self.server, authorizer: .allowingAny, interceptors: [try self.interceptor()]
        ) { endpoint in
            let answer = try await endpoint.whoAmI(
                self.client, authorizer: .allowingAny,
                interceptors: [JWTSVIDClientInterceptor(self.tokens, audience: ["echo"])])
            #expect(answer == "spiffe://acme.test/gateway for spiffe://acme.test/web")
        }
    }

    @Test("A client without certificate is known by its token alone")
    func tokenOnly() async throws {
        try await EchoEndpoint.with(
            self.server, authorizer: .allowingAny, clientCertificateIsOptional: true,
            interceptors: [try self.interceptor()]
        ) { endpoint in
            let transport = try SPIFFEClientTransport(
                target: endpoint.target, unauthenticatedWith: self.client,
                authorizer: .exactly(try self.acme.id("/server")))
            let answer = try await endpoint.whoAmI(
                transport,
                interceptors: [JWTSVIDClientInterceptor(self.tokens, audience: ["echo"])])
            #expect(answer == "nobody for spiffe://acme.test/web")
        }
    }

    @Test("A call without a valid token is UNAUTHENTICATED", arguments: BadHeader.all)
    func refused(bad: BadHeader) async throws {
        let values = try bad.values(self.acme)
        let refused = NIOLockedValueBox<[String]>([])
        try await EchoEndpoint.with(
            self.server, authorizer: .allowingAny,
            interceptors: [try self.interceptor(refused: refused)]
        ) { endpoint in
            let error = try await #require(throws: RPCError.self) {
                try await endpoint.whoAmI(
                    self.client, authorizer: .allowingAny, interceptors: [FixedHeader(values)])
            }
            #expect(error.code == .unauthenticated)
            #expect(error.message == "a valid JWT-SVID is required")
        }
        #expect(refused.withLockedValue { $0.count } == 1)
    }

    @Test("A caller that is known and not authorized is PERMISSION_DENIED, and learns nothing more")
    func denied() async throws {
        let refused = NIOLockedValueBox<[String]>([])
        let rule = Authorizer.exactly(try self.acme.id("/other"))
        try await EchoEndpoint.with(
            self.server, authorizer: .allowingAny,
            interceptors: [try self.interceptor(rule, refused: refused)]
        ) { endpoint in
            let error = try await #require(throws: RPCError.self) {
                try await endpoint.whoAmI(
                    self.client, authorizer: .allowingAny,
                    interceptors: [JWTSVIDClientInterceptor(self.tokens, audience: ["echo"])])
            }
            #expect(error.code == .permissionDenied)
            #expect(!error.message.contains("/other"))
        }
        #expect(refused.withLockedValue { $0 } == ["denied"])
    }

    @Test("Without a token the call is not sent")
    func noToken() async throws {
        self.tokens.withdraw()
        try await EchoEndpoint.with(self.server, authorizer: .allowingAny) { endpoint in
            let error = try await #require(throws: RPCError.self) {
                try await endpoint.whoAmI(
                    self.client, authorizer: .allowingAny,
                    interceptors: [JWTSVIDClientInterceptor(self.tokens, audience: ["echo"])])
            }
            #expect(error.code == .unauthenticated)
        }
    }

    @Test("JWT-25: no token leaves over a plaintext transport")
    func plaintext() async throws {
        let server = GRPCServer(
            transport: .http2NIOPosix(
                address: .ipv4(host: "127.0.0.1", port: 0), transportSecurity: .plaintext),
            services: [EchoService()])
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await server.serve() }
            let port = try #require(try await server.listeningAddress?.ipv4?.port)
            @Sendable func call(_ interceptor: JWTSVIDClientInterceptor) async throws -> String {
                try await withGRPCClient(
                    transport: try .http2NIOPosix(
                        target: .ipv4(address: "127.0.0.1", port: port),
                        transportSecurity: .plaintext), interceptors: [interceptor]
                ) { try await EchoEndpoint.whoAmI($0) }
            }
            let error = try await #require(throws: RPCError.self) {
                try await call(JWTSVIDClientInterceptor(self.tokens, audience: ["echo"]))
            }
            #expect(error.code == .failedPrecondition)
            #expect(self.tokens.requestCount == 0)
            // Nor in a call that is made while a secure one is under way.
            let nested = try await EchoEndpoint.with(self.server, authorizer: .allowingAny) {
                echo in
                let transport = try SPIFFEClientTransport(
                    target: echo.target, svid: self.client, bundles: self.client,
                    authorizer: .allowingAny)
                return try await withGRPCClient(transport: transport) { client in
                    try await client.unary(
                        request: ClientRequest(message: [1]), descriptor: EchoService.whoAmI,
                        serializer: Raw(), deserializer: Raw(), options: .defaults
                    ) { _ in
                        await #expect(throws: RPCError.self) {
                            try await call(
                                JWTSVIDClientInterceptor(self.tokens, audience: ["echo"]))
                        }
                    }
                }
            }
            #expect(nested?.code == .failedPrecondition)
            #expect(self.tokens.requestCount == 0)
            let spelledOut = JWTSVIDClientInterceptor.assumingSecureTransport(
                self.tokens, audience: ["echo"])
            #expect(try await call(spelledOut) == "nobody with header")
        }
    }
}

/// Puts fixed values into the header.
private struct FixedHeader: ClientInterceptor {
    let values: [String]
    init(_ values: [String]) { self.values = values }

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingClientRequest<Input>, context: ClientContext,
        next: (StreamingClientRequest<Input>, ClientContext) async throws
            -> StreamingClientResponse<Output>
    ) async throws -> StreamingClientResponse<Output> {
        var request = request
        for value in self.values { request.metadata.addString(value, forKey: "authorization") }
        return try await next(request, context)
    }
}
