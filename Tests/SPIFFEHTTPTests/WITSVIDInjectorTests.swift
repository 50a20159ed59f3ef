import Foundation
import NIOHTTP1
import SPIFFE
import SPIFFEHTTP
import SPIFFETesting
import Testing

@Suite("WIT-SVIDs on the way out") struct WITSVIDInjectorTests {
    private let source: TestWITSource

    init() throws { self.source = try TestWITSource(try TestAuthority("acme.test"), "/web") }

    private func failure(
        _ injector: WITSVIDInjector, _ url: String, headers: HTTPHeaders = [:],
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> SPIFFEHTTPError.Code {
        try await #require(throws: SPIFFEHTTPError.self, sourceLocation: sourceLocation) {
            try await injector.headers(for: .GET, url, headers: headers, body: [])
        }.code
    }

    /// Whom a proof made for a URL is accepted by.
    private func isAccepted(
        _ injector: WITSVIDInjector, _ url: String, target: String, by audience: ProofAudience
    ) async throws -> Bool {
        let headers = try await injector.headers(for: .GET, url, headers: [:], body: [])
        let request = try ProofRequest(
            method: "GET", requestTarget: target,
            fields: headers.map { .init(name: $0.name, value: $0.value) }, bodySHA256: nil,
            channel: .tls)
        let authenticator = WITSVIDAuthenticator(
            try WorkloadProofVerifier(audience: audience), bundles: self.source,
            authorizer: .allowingAny)
        return (try? authenticator.authenticate(request)) != nil
    }

    @Test(
        "WIT-31: nothing is made for plain text, and no identity asked for",
        arguments: WorkloadProofScheme.allCases)
    func plaintext(_ scheme: WorkloadProofScheme) async throws {
        let signer = WorkloadProofSigner(scheme: scheme)
        let recipients: [WITSVIDInjector.Recipient] = [
            .target, try .named("orders", at: ["https://orders.example"]),
        ]
        for recipient in recipients {
            let injector = WITSVIDInjector(self.source, recipient: recipient, signer: signer)
            for url in ["http://orders.example/", "ws://orders.example/", "HTTP://orders.example"] {
                #expect(try await self.failure(injector, url) == .insecureURL)
            }
            for url in ["https://user@orders.example/", "https:///x", "/x", ""] {
                #expect(try await self.failure(injector, url) == .invalidURL)
            }
        }
        #expect(self.source.requestCount == 0)
        #expect(throws: SPIFFEHTTPError.self) {
            try WITSVIDInjector.Recipient.named("orders", at: ["http://orders.example"])
        }
        #expect(throws: SPIFFEHTTPError.self) {
            try WITSVIDInjector.Recipient.named("", at: ["https://orders.example"])
        }
    }

    @Test(
        "WIT-37, WIT-38: a proof for a URL is good there and nowhere else, wherever a redirection leads",
        arguments: WorkloadProofScheme.allCases)
    func redirection(_ scheme: WorkloadProofScheme) async throws {
        let injector = WITSVIDInjector(
            self.source, recipient: .target, signer: WorkloadProofSigner(scheme: scheme))
        let orders = try ProofAudience(origins: ["https://orders.example"])
        let evil = try ProofAudience(origins: ["https://evil.example:8443"])
        let rows: [(String, String, Bool, Bool)] = [
            ("https://orders.example/v1?limit=5", "/v1?limit=5", true, false),
            ("https://ORDERS.example:443/v1#top", "/v1", true, false),
            ("https://orders.example", "/", true, false),
            ("https://evil.example:8443/v1", "/v1", false, true),
            ("https://orders.example:8443/v1", "/v1", false, false),
            ("https://orders.example.evil.example:8443/v1", "/v1", false, false),
        ]
        for (url, target, isForOrders, isForEvil) in rows {
            #expect(
                try await self.isAccepted(injector, url, target: target, by: orders) == isForOrders,
                "\(url)")
            #expect(
                try await self.isAccepted(injector, url, target: target, by: evil) == isForEvil,
                "\(url)")
        }
    }

    @Test("WIT-37, WIT-38: a name is for its own origins; another host gets nothing")
    func named() async throws {
        let injector = WITSVIDInjector(
            self.source,
            recipient: try .named(
                "orders", at: ["https://orders.example:8443", "https://[::1]/ignored"]))
        let orders = try ProofAudience(names: ["orders"])
        for url in ["https://orders.example:8443/v1", "https://[::1]:443/v1"] {
            #expect(try await self.isAccepted(injector, url, target: "/v1", by: orders))
        }
        let asked = self.source.requestCount
        for url in [
            "https://evil.example:8443/v1", "https://orders.example/v1",
            "https://orders.example:8443.evil.example/", "https://orders.example.:8443/",
        ] {
            let code = try await self.failure(injector, url)
            #expect(code == .otherRecipient || code == .invalidURL, "\(url)")
        }
        #expect(self.source.requestCount == asked)
    }

    @Test("Each request has a proof of its own, and what was there stays")
    func fresh() async throws {
        for scheme in WorkloadProofScheme.allCases {
            let injector = WITSVIDInjector(
                self.source, recipient: .target, signer: WorkloadProofSigner(scheme: scheme))
            var seen: Set<[String]> = []
            for _ in 0..<10 {
                let headers = try await injector.headers(
                    for: .POST, "https://orders.example/", headers: ["x-mine": "1"], body: [1])
                #expect(headers["x-mine"] == ["1"])
                #expect(!headers.contains(name: "authorization"))
                seen.insert(headers["workload-proof-token"] + headers["signature-input"])
            }
            #expect(seen.count == 10)
        }
    }

    @Test("WIT-27: no proof for a request that has one already, or carries the WIT-SVID elsewhere")
    func refused() async throws {
        let injector = WITSVIDInjector(self.source, recipient: .target)
        let url = "https://orders.example/"
        let good = try await injector.headers(for: .GET, url, headers: [:], body: [])
        #expect(try await self.failure(injector, url, headers: good) == .proof)
        let token = try #require(good.first(name: "workload-identity-token"))
        for name in ["authorization", "cookie"] {
            #expect(
                try await self.failure(injector, url, headers: [name: "Bearer \(token)"]) == .proof)
        }
        #expect(try await self.failure(injector, url, headers: ["x-bad": "a\r\nb: c"]) == .proof)
        self.source.set(svid: nil)
        #expect(try await self.failure(injector, url) == .noIdentity)
    }
}
