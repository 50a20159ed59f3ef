import Crypto
import Foundation
import GRPCCore
import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing
import WorkloadAPIProto
import X509

/// A WIT authority of one trust domain, and messages with what it signs.
private struct WITAuthority {
    let trustDomain: TrustDomain
    let signer: JWSSigner
    let proofKey: ProofKey

    init(_ trustDomain: String) throws {
        self.trustDomain = try TrustDomain(trustDomain)
        self.signer = try JWSSigner(
            privateKey: Certificate.PrivateKey(P256.Signing.PrivateKey()), keyID: "w1",
            type: "wit+jwt")
        self.proofKey = try ProofKey(generatingFor: .es256)
    }

    var bundleKey: String { self.trustDomain.id.string }

    var jwks: String {
        WITBundle(trustDomain: self.trustDomain, authorities: ["w1": self.signer.publicKey]).jwks()
    }

    func entry(_ path: String, hint: String = "") throws -> WorkloadAPIProto.WITSVID {
        let now = Int64(Date().timeIntervalSince1970)
        let claims: JSONValue = [
            "sub": .string(self.bundleKey + path), "iat": .int(now), "exp": .int(now + 3600),
            "cnf": ["jwk": .object(self.proofKey.confirmationKey.jwk)],
        ]
        var entry = WorkloadAPIProto.WITSVID()
        entry.spiffeID = self.bundleKey + path
        entry.witSvid = try self.signer.sign(claims: claims.serialized())
        entry.witSvidKey = try self.proofKey.privateJWK()
        entry.hint = hint
        return entry
    }
}

extension WITSVIDResponse {
    fileprivate static func with(_ svids: [WorkloadAPIProto.WITSVID]) -> Self {
        var message = Self()
        message.svids = svids
        return message
    }
}

extension WITBundlesResponse {
    fileprivate static func with(_ authorities: [WITAuthority]) -> Self {
        var message = Self()
        for authority in authorities { message.bundles[authority.bundleKey] = authority.jwks }
        return message
    }
}

@Suite("WIT source", .timeLimit(.minutes(1))) struct WITSourceTests {
    @Test("It hands out identities that can be presented, and the bundles to verify them")
    func present() async throws {
        let authority = try WITAuthority("acme.test")
        let fake = try FakeWorkloadAPI()
        fake.send(WITSVIDResponse.with([try authority.entry("/web", hint: "h")]))
        fake.send(WITBundlesResponse.with([authority]))
        try await fake.serving {
            let source = try WITSource(address: fake.address, configuration: quick)
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await source.run() }
                try await source.ready(within: patience)
                let svid = try #require(try source.witSVIDs().first)
                #expect(svid.id.path == "/web" && svid.hint == "h")
                let request = try ProofRequest(
                    method: "GET", requestTarget: "/", fields: [], bodySHA256: nil, channel: .tls)
                let fields = try WorkloadProofSigner().fields(
                    for: request, audience: "svc", svid: svid)
                let presented = try ProofRequest(
                    method: "GET", requestTarget: "/", fields: fields, bodySHA256: nil,
                    channel: .tls)
                let verifier = try WorkloadProofVerifier(
                    audience: try ProofAudience(names: ["svc"]))
                let proven = try verifier.verify(presented, bundles: source) { _ in .fresh }
                #expect(proven.id == svid.id)
                #expect(source.witBundle(for: try TrustDomain("other.test")) == nil)
            }
        }
    }

    @Test("The default identity is the first; others are asked for by their SPIFFE ID")
    func choice() async throws {
        let authority = try WITAuthority("acme.test")
        let fake = try FakeWorkloadAPI()
        fake.send(
            WITSVIDResponse.with([try authority.entry("/web"), try authority.entry("/db")]))
        fake.send(WITBundlesResponse.with([authority]))
        let (web, db) = (
            try SPIFFEID("spiffe://acme.test/web"), try SPIFFEID("spiffe://acme.test/db")
        )
        try await fake.serving {
            try await withWITSource(
                address: fake.address, readyWithin: patience, configuration: quick
            ) { source in
                #expect(try source.witSVID().id == web)
                #expect(try source.witSVID(id: web).id == web)
                #expect(try source.witSVID(id: db).id == db)
                let error = try #require(throws: WorkloadAPIError.self) {
                    try source.witSVID(id: try SPIFFEID("spiffe://acme.test/other"))
                }
                #expect(error.code == .noIdentity)
            }
        }
    }

    @Test("WAPI-30: a WIT bundle that is left out is used no more")
    func redactedBundle() async throws {
        let acme = try WITAuthority("acme.test")
        let partner = try WITAuthority("partner.test")
        let fake = try FakeWorkloadAPI()
        fake.send(WITSVIDResponse.with([try acme.entry("/web")]))
        fake.send(WITBundlesResponse.with([acme, partner]))
        let token = try partner.entry("/web").witSvid
        let source = try WITSource(address: fake.address, configuration: quick)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await source.run() }
            try await fake.serving {
                try await source.ready(within: patience)
                let svid = try UnprovenWITSVID(validating: token, bundles: source)
                #expect(svid.claimedID.trustDomain == partner.trustDomain)
                fake.send(WITBundlesResponse.with([acme]))
                for await bundles in source.bundleUpdates where bundles.bundles.count == 1 { break }
                #expect(throws: WITSVIDError.self) {
                    try UnprovenWITSVID(validating: token, bundles: source)
                }
            }
        }
    }

    @Test("WAPI-04: after UNIMPLEMENTED the WIT profile is not asked for again; JWT goes on")
    func notSupported() async throws {
        let authority = try TestAuthority("acme.test")
        let fake = try FakeWorkloadAPI()
        fake.set(jwtBundles: JWTBundleSet([authority.jwtBundle]))
        try await fake.serving {
            try await WorkloadAPIClient.with(address: fake.address, configuration: quick) {
                client in
                for _ in 0..<3 {
                    let svids = try await #require(throws: WorkloadAPIError.self) {
                        try await client.fetchWITSVIDs()
                    }
                    let bundles = try await #require(throws: WorkloadAPIError.self) {
                        try await client.fetchWITBundles()
                    }
                    #expect(svids.code == .notSupported && bundles.code == .notSupported)
                }
                #expect(try await client.fetchJWTBundles().bundles.count == 1)
            }
            let source = try WITSource(address: fake.address, configuration: quick)
            let ended = try await #require(throws: WorkloadAPIError.self) {
                try await source.run()
            }
            #expect(ended.code == .notSupported)
        }
        let calls = fake.callCount(of: .fetchWITSVID) + fake.callCount(of: .fetchWITBundles)
        #expect(calls <= 3)
    }

    @Test("WAPI-15: messages with a fault are discarded whole")
    func faults() async throws {
        let authority = try WITAuthority("acme.test")
        let other = try ProofKey(generatingFor: .es256).privateJWK()
        let changes: [(inout WorkloadAPIProto.WITSVID) -> Void] = [
            { $0.spiffeID = "" }, { $0.witSvid = "" }, { $0.witSvidKey = "" },
            { $0.spiffeID = "spiffe://acme.test/other" }, { $0.witSvid += "." },
            { $0.witSvidKey = "{}" }, { $0.witSvidKey = other },
        ]
        var faulty: [[WorkloadAPIProto.WITSVID]] = [[]]
        for change in changes {
            var entry = try authority.entry("/web")
            change(&entry)
            faulty.append([try authority.entry("/good"), entry])
        }
        for svids in faulty {
            let fake = try FakeWorkloadAPI()
            fake.send(WITSVIDResponse.with(svids))
            fake.send(WITBundlesResponse.with([]))
            try await fake.serving {
                try await WorkloadAPIClient.with(
                    address: fake.address, configuration: quick
                ) { client in
                    let error = try await #require(throws: WorkloadAPIError.self) {
                        try await client.fetchWITSVIDs()
                    }
                    #expect(error.code == .invalidResponse)
                    let bundles = try await #require(throws: WorkloadAPIError.self) {
                        try await client.fetchWITBundles()
                    }
                    #expect(bundles.code == .invalidResponse)
                }
            }
        }
    }
}
