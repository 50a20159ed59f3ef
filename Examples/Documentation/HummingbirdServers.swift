import Hummingbird
import SPIFFE
import SPIFFEHummingbird
import SPIFFEWorkloadAPI

/// The code of the article on Hummingbird.
enum HummingbirdServers {
    static func serve(_ source: X509Source) async throws {
        let router = Router(context: BasicSPIFFERequestContext.self)
        router.get("hello") { _, context in
            "hello \(try context.requirePeerSPIFFEID())"
        }
        let app = Application(
            router: router,
            server: .spiffe(
                svid: source, bundles: source,
                authorizer: .member(of: try TrustDomain("example.org"))),
            configuration: ApplicationConfiguration(address: .hostname("0.0.0.0", port: 8443)))
        try await app.run()
    }

    static func routes(
        _ router: Router<BasicSPIFFERequestContext>, _ tokens: JWTSource
    ) throws {
        let operators = Authorizer.exactly(try SPIFFEID("spiffe://example.org/operators"))
        router.group("admin")
            .add(middleware: PeerAuthorizationMiddleware(operators))
            .get("status") { _, _ in "fine" }

        let authenticator = JWTSVIDAuthenticator(
            audience: "reports", bundles: tokens,
            authorizer: .member(of: try TrustDomain("example.org")))
        router.group("reports")
            .add(middleware: JWTSVIDMiddleware(authenticator))
            .get("today") { _, context in "for \(context.jwtSVID?.id.string ?? "nobody")" }
    }
}

struct AppContext: SPIFFERequestContext {
    var coreContext: CoreRequestContextStorage
    var caller: SPIFFECaller

    init(source: Source) {
        self.coreContext = .init(source: source)
        self.caller = SPIFFECaller()
    }
}
