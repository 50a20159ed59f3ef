import Hummingbird
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import SPIFFE
import SPIFFEHTTP
import SPIFFEHummingbird
import SPIFFETLS
import SPIFFETesting
import Testing

@Suite("Hummingbird", .timeLimit(.minutes(1))) struct SPIFFEHummingbirdTests {
    private let acme: TestAuthority
    private let server: TestX509Source
    private let source: TestX509Source
    private let tokens: TestJWTSource

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.server = try TestX509Source(self.acme, "/server")
        self.source = try TestX509Source(self.acme, "/client")
        self.tokens = TestJWTSource(self.acme, "/web")
    }

    /// Runs an application while the body runs, with a URL to it.
    private func with(
        _ authorizer: Authorizer,
        clientCertificate: MTLSServerConfiguration.ClientCertificate = .required,
        idleTimeout: Duration? = .seconds(60), handshakeTimeout: Duration = .seconds(10),
        onRefused: (@Sendable (any Error) -> Void)? = nil,
        _ body: @escaping @Sendable (String) async throws -> Void
    ) async throws {
        let router = Router(context: BasicSPIFFERequestContext.self)
        router.get("peer") { _, context in context.peerSPIFFEID?.string ?? "nobody" }
        router.group("admin").add(
            middleware: PeerAuthorizationMiddleware(.exactly(try self.acme.id("/admin")))
        ).get { _, _ in "admin" }
        router.group("reports").add(
            middleware: JWTSVIDMiddleware(
                JWTSVIDAuthenticator(
                    audience: "reports", bundles: self.tokens,
                    authorizer: .exactly(try self.acme.id("/web"))))
        ).get { request, context in
            let header = request.headers[.authorization] == nil ? "" : " with header"
            return
                "\(context.peerSPIFFEID?.string ?? "nobody") for \(context.jwtSVID?.id.string ?? "?")"
                + header
        }
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let app = Application(
            router: router,
            server: .spiffe(
                svid: self.server, bundles: self.server, authorizer: authorizer,
                clientCertificate: clientCertificate, idleTimeout: idleTimeout,
                handshakeTimeout: handshakeTimeout,
                onRefused: onRefused),
            configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { port.yield($0.localAddress?.port ?? 0) }, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await app.run() }
            for await port in ports {
                try await body("https://127.0.0.1:\(port)")
                break
            }
        }
    }

    private func client(
        _ source: TestX509Source? = nil, tokens: JWTSVIDInjector? = nil
    ) throws -> SPIFFEHTTPClient {
        let source = source ?? self.source
        return SPIFFEHTTPClient(
            tls: MTLSClientConfiguration(
                svid: source, bundles: source, authorizer: .exactly(try self.acme.id("/server"))),
            tokens: tokens)
    }

    @Test("Handlers know who sent a request, also on the second one of a connection")
    func peer() async throws {
        let (one, two) = (try self.client(), try self.client(TestX509Source(self.acme, "/two")))
        try await self.with(.allowingAny) { (url: String) async throws in
            for _ in 0..<2 {
                #expect(try await one.get(url + "/peer").text == "spiffe://acme.test/client")
                #expect(try await two.get(url + "/peer").text == "spiffe://acme.test/two")
            }
        }
    }

    @Test("A client that is not authorized does not connect, and the others go on")
    func refused() async throws {
        let (one, two) = (try self.client(), try self.client(TestX509Source(self.acme, "/two")))
        try await self.with(.exactly(try self.acme.id("/client"))) { (url: String) async throws in
            let error = try await #require(throws: SPIFFEHTTPError.self) {
                try await two.get(url + "/peer")
            }
            #expect(error.code == .connection)
            #expect(try await one.get(url + "/peer").status == .ok)
        }
    }

    @Test("A client that says nothing is disconnected")
    func silence() async throws {
        let reasons = NIOLockedValueBox<[String]>([])
        try await self.with(
            .allowingAny, handshakeTimeout: .milliseconds(500),
            onRefused: { reason in reasons.withLockedValue { $0.append("\(reason)") } }
        ) { (url: String) async throws in
            let port = try #require(Int(url.split(separator: ":").last ?? ""))
            let silent = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .connect(host: "127.0.0.1", port: port).get()
            try await silent.closeFuture.get()
            while reasons.withLockedValue({ $0.isEmpty }) { await Task.yield() }
            #expect(reasons.withLockedValue { $0 } == ["the TLS handshake took too long"])
        }
    }

    @Test("A server without identity refuses connections and serves again when it has one")
    func withdrawn() async throws {
        let svid = try self.server.x509SVID()
        let (one, two) = (try self.client(), try self.client())
        try await self.with(.allowingAny) { (url: String) async throws in
            self.server.set(svid: nil)
            await #expect(throws: SPIFFEHTTPError.self) { try await one.get(url + "/peer") }
            self.server.set(svid: svid)
            #expect(try await two.get(url + "/peer").status == .ok)
        }
    }

    @Test("Routes can be for fewer clients than may connect")
    func authorization() async throws {
        let (one, admin) = (try self.client(), try self.client(TestX509Source(self.acme, "/admin")))
        let anonymous = SPIFFEHTTPClient(
            tls: MTLSClientConfiguration(
                unauthenticatedWith: self.source, authorizer: .exactly(try self.acme.id("/server")))
        )
        try await self.with(.allowingAny, clientCertificate: .optional) {
            (url: String) async throws in
            #expect(try await one.get(url + "/admin").status == .forbidden)
            #expect(try await admin.get(url + "/admin").text == "admin")
            #expect(try await anonymous.get(url + "/admin").status == .unauthorized)
            #expect(try await anonymous.get(url + "/peer").text == "nobody")
        }
    }

    @Test("JWT-SVIDs: the subject is in the context, other requests are refused")
    func tokens() async throws {
        let with = try self.client(tokens: JWTSVIDInjector(self.tokens, audience: ["reports"]))
        let other = try self.client(tokens: JWTSVIDInjector(self.tokens, audience: ["other"]))
        let none = try self.client()
        try await self.with(.allowingAny) { (url: String) async throws in
            let answer = try await with.get(url + "/reports")
            #expect(answer.text == "spiffe://acme.test/client for spiffe://acme.test/web")
            let refused = try await other.get(url + "/reports")
            #expect(refused.status == .unauthorized)
            #expect(
                refused.headers["www-authenticate"] == ["Bearer error=\"invalid_token\""])
            #expect(try await none.get(url + "/reports").headers["www-authenticate"] == ["Bearer"])
        }
    }
}
