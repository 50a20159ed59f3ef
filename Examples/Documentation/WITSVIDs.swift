import Hummingbird
import NIOCore
import NIOHTTP1
import SPIFFE
import SPIFFEHTTP
import SPIFFEHummingbird
import SPIFFETLS
import SPIFFEWorkloadAPI

/// The code of the article on WIT-SVIDs.
enum WITSVIDs {
    /// A request of some other HTTP client.
    struct OtherRequest {
        var headers = HTTPHeaders()
        var body: [UInt8] = []
    }

    static func source() async throws {
        try await withWITSource { source in
            print("I am \(try source.witSVID().id)")
        }
    }

    static func send(_ identity: X509Source, _ source: WITSource) async throws {
        let client = SPIFFEHTTPClient(
            tls: MTLSClientConfiguration(
                svid: identity, bundles: identity,
                authorizer: .exactly(try SPIFFEID("spiffe://example.org/orders"))),
            proofs: WITSVIDInjector(
                source, recipient: .target, signer: WorkloadProofSigner(scheme: .httpSignature)))
        let response = try await client.get("https://orders.internal:8443/v1/orders")
        print(response.status)
    }

    static func recipient() throws -> WITSVIDInjector.Recipient {
        let recipient = try WITSVIDInjector.Recipient.named(
            "orders", at: ["https://orders.internal:8443"])
        return recipient
    }

    static func headers(
        _ source: WITSource, _ url: String, _ request: inout OtherRequest
    ) async throws {
        let injector = WITSVIDInjector(source, recipient: .target)
        request.headers = try await injector.headers(
            for: .POST, url, headers: request.headers, body: request.body)
    }

    static func authenticate(_ source: WITSource) throws -> WITSVIDAuthenticator {
        let authenticator = WITSVIDAuthenticator(
            try WorkloadProofVerifier(
                audience: try ProofAudience(origins: ["https://orders.internal:8443"])),
            bundles: source, authorizer: .member(of: try TrustDomain("example.org")))
        return authenticator
    }

    static func authenticate(
        _ source: WITSource, _ trustDomain: TrustDomain, _ request: ProofRequest
    ) throws {
        let authenticator = WITSVIDAuthenticator(
            try WorkloadProofVerifier(audience: ProofAudience(origins: ["https://orders.example"])),
            bundles: source, authorizer: .member(of: trustDomain))
        let caller = try authenticator.authenticate(request)
        print(caller.id)
    }

    static func memory() -> ProofReplayCache {
        let replays = ProofReplayCache(capacity: 1_000_000, capacityPerSender: 200_000)
        return replays
    }

    static func pipeline(_ channel: any Channel, _ authenticator: WITSVIDAuthenticator) throws {
        try channel.pipeline.syncOperations.configureHTTPServerPipeline()
        try channel.pipeline.syncOperations.addHandler(
            WITSVIDServerHandler(authenticator) { error in print("refused: \(error)") })
    }

    static func routes(
        _ router: Router<BasicSPIFFERequestContext>, _ authenticator: WITSVIDAuthenticator
    ) {
        router.group("orders")
            .add(middleware: WITSVIDMiddleware(authenticator))
            .get("all") { _, context in "for \(context.witSVID?.id.string ?? "nobody")" }
    }
}
