import Foundation
import Hummingbird
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import SPIFFE
import SPIFFEHTTP
import SPIFFEHummingbird
import SPIFFETLS
import SPIFFETesting
import Testing

@Suite("WIT-SVIDs in Hummingbird", .timeLimit(.minutes(1))) struct WITSVIDMiddlewareTests {
    private let acme: TestAuthority
    private let server: TestX509Source
    private let proofs: TestWITSource

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.server = try TestX509Source(self.acme, "/server")
        self.proofs = try TestWITSource(self.acme, "/web")
    }

    /// Runs an application while the body runs, with a URL to it.
    ///
    /// - Parameter onRefused: Told the code of each refusal.
    private func with(
        onRefused: @escaping @Sendable (String) -> Void = { _ in },
        _ body: @escaping @Sendable (String) async throws -> Void
    ) async throws {
        let router = Router(context: BasicSPIFFERequestContext.self)
        let authenticator = WITSVIDAuthenticator(
            try WorkloadProofVerifier(audience: try ProofAudience(names: ["orders"])),
            bundles: self.proofs, authorizer: .exactly(try self.acme.id("/web")))
        let orders = router.group("orders").add(
            middleware: WITSVIDMiddleware(authenticator, maximumBodyBytes: 100_000) { error, _ in
                onRefused(error.code.description)
            })
        orders.get { request, context in
            let names = ["Workload-Identity-Token", "Workload-Proof-Token"]
            let seen = request.headers.contains { names.contains($0.name.rawName) }
            return "\(context.witSVID?.id.string ?? "?")" + (seen ? " with tokens" : "")
        }
        orders.post { request, context in
            let bytes = try await request.body.collect(upTo: 200_000)
            return "\(context.witSVID?.id.string ?? "?") sent \(bytes.readableBytes)"
        }
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let app = Application(
            router: router,
            server: .spiffe(
                svid: self.server, bundles: self.server, authorizer: .allowingAny,
                clientCertificate: .optional),
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

    private func client(proofs: WITSVIDInjector? = nil) throws -> SPIFFEHTTPClient {
        SPIFFEHTTPClient(
            tls: MTLSClientConfiguration(
                unauthenticatedWith: self.server, authorizer: .exactly(try self.acme.id("/server"))),
            proofs: proofs)
    }

    private func headers(
        _ scheme: WorkloadProofScheme, _ method: String, _ target: String, body: [UInt8] = [],
        svid: WITSVID? = nil, audience: String = "orders"
    ) throws -> HTTPHeaders {
        let request = try ProofRequest(
            method: method, requestTarget: target, fields: [],
            bodySHA256: body.isEmpty ? nil : ProofRequest.sha256(of: body), channel: .tls)
        let fields = try WorkloadProofSigner(scheme: scheme).fields(
            for: request, audience: audience, svid: try svid ?? self.proofs.witSVID())
        return HTTPHeaders(fields.map { ($0.name, $0.value) })
    }

    @Test(
        "WIT-28, WIT-36: who proved itself is in the context, and the body is there",
        arguments: WorkloadProofScheme.allCases)
    func identity(_ scheme: WorkloadProofScheme) async throws {
        try await self.with { (url: String) async throws in
            let client = try self.client(
                proofs: WITSVIDInjector(
                    self.proofs, recipient: try .named("orders", at: [url]),
                    signer: WorkloadProofSigner(scheme: scheme)))
            for _ in 0..<2 {
                #expect(
                    try await client.get(url + "/orders?limit=5&x=%20").text
                        == "spiffe://acme.test/web")
            }
            let body = [UInt8](repeating: 1, count: 50_000)
            let response = try await client.send(
                .init(
                    .POST, url: url + "/orders",
                    headers: ["content-type": "application/json", "cookie": "a=b; c=d"], body: body)
            )
            #expect(response.text == "spiffe://acme.test/web sent 50000")
        }
    }

    @Test(
        "WIT-26, WIT-30: requests without a fresh proof of their own are refused",
        arguments: WorkloadProofScheme.allCases)
    func refused(_ scheme: WorkloadProofScheme) async throws {
        let refused = NIOLockedValueBox<[String]>([])
        let used = try self.headers(scheme, "GET", "/orders")
        var bare = try self.headers(scheme, "GET", "/orders")
        for name in ["workload-proof-token", "signature", "signature-input"] {
            bare.remove(name: name)
        }
        var twice = try self.headers(scheme, "GET", "/orders")
        twice.add(name: "workload-identity-token", value: twice["workload-identity-token"][0])
        let rows: [(HTTPHeaders, HTTPResponseStatus)] = [
            (used, .ok), (used, .badRequest), ([:], .badRequest), (bare, .badRequest),
            (twice, .badRequest),
            (try self.headers(scheme, "GET", "/orders", audience: "reports"), .badRequest),
            (
                try self.headers(scheme, "GET", "/orders", svid: try self.acme.witSVID("/other")),
                .forbidden
            ),
        ]
        try await self.with(onRefused: { code in refused.withLockedValue { $0.append(code) } }) {
            (url: String) async throws in
            let client = try self.client()
            for (headers, status) in rows {
                let response = try await client.send(.init(url: url + "/orders", headers: headers))
                #expect(response.status == status)
                #expect(!response.headers.contains(name: "www-authenticate"))
            }
        }
        #expect(
            refused.withLockedValue { $0 } == [
                "invalid", "missing", "missing", "missing", "invalid", "denied",
            ])
    }

    @Test("WIT-38: a signature is for one method, one target and one body")
    func otherRequest() async throws {
        let body: [UInt8] = [1, 2]
        let rows: [(HTTPMethod, String, [UInt8])] = [
            (.POST, "/orders?x", body), (.POST, "/orders", [1, 3]), (.POST, "/orders", []),
            (.POST, "/orders", [1, 2, 3]), (.GET, "/orders", []),
        ]
        try await self.with { (url: String) async throws in
            let client = try self.client()
            for (method, target, sent) in rows {
                let headers = try self.headers(.httpSignature, "POST", "/orders", body: body)
                let response = try await client.send(
                    .init(method, url: url + target, headers: headers, body: sent))
                #expect(response.status == .badRequest, "\(method) \(target) \(sent)")
            }
            let headers = try self.headers(.httpSignature, "POST", "/orders", body: body)
            #expect(
                try await client.send(
                    .init(.POST, url: url + "/orders", headers: headers, body: body)
                ).text == "spiffe://acme.test/web sent 2")
        }
    }

    @Test("A body that is too large to be held under a signature is refused")
    func largeBody() async throws {
        let refused = NIOLockedValueBox<[String]>([])
        try await self.with(onRefused: { code in refused.withLockedValue { $0.append(code) } }) {
            (url: String) async throws in
            let body = [UInt8](repeating: 0, count: 150_000)
            let headers = try self.headers(.httpSignature, "POST", "/orders", body: body)
            // Either the answer is read, or the connection is gone before.
            let response = try? await self.client().send(
                .init(.POST, url: url + "/orders", headers: headers, body: body))
            #expect(response == nil || response?.status == .payloadTooLarge)
            // A proof token does not cover it: how much is read is for the handler to say.
            let token = try self.headers(.proofToken, "POST", "/orders")
            #expect(
                try await self.client().send(
                    .init(.POST, url: url + "/orders", headers: token, body: body)
                ).text == "spiffe://acme.test/web sent 150000")
        }
        #expect(refused.withLockedValue { $0 } == ["bodyTooLarge"])
    }
}
