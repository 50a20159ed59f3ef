import Foundation
import SPIFFE
import SPIFFETesting
import Testing

@Suite("Test authority") struct TestAuthorityTests {
    @Test(
        "X509-SVIDs verify with every kind of key and below intermediates",
        arguments: TestKeyType.allCases, [0, 1, 3])
    func x509(keyType: TestKeyType, intermediates: Int) async throws {
        let authority = try TestAuthority("acme.test", keyType: keyType)
        let svid = try authority.x509SVID("/web", intermediates: intermediates)
        #expect(svid.certificates.count == 1 + intermediates)
        let verified = try await X509SVIDVerifier(bundles: try authority.x509Bundle).verify(
            chainDER: svid.certificateChainDER)
        #expect(verified.id.string == "spiffe://acme.test/web")
    }

    @Test("Dates make SVIDs that have expired or are not valid yet")
    func dates() async throws {
        let authority = try TestAuthority("acme.test")
        let verifier = X509SVIDVerifier(bundles: try authority.x509Bundle)
        let old = try authority.x509SVID("/web", notAfter: Date() - 1)
        let early = try authority.x509SVID("/web", notBefore: Date() + 60)
        for (svid, code) in [(old, X509SVIDError.Code.expired), (early, .notYetValid)] {
            let error = try await #require(throws: X509SVIDError.self) {
                try await verifier.verify(chainDER: svid.certificateChainDER)
            }
            #expect(error.code == code)
        }
        let token = try authority.jwtSVID("/web", audience: ["db"], expiresAt: Date() - 3600).token
        let error = try #require(throws: JWTSVIDError.self) {
            try JWTSVID.validate(token, audience: "db", bundles: authority.jwtBundle)
        }
        #expect(error.code == .expired)
    }

    @Test("WIT-SVIDs verify with every kind of key, until their authority is dropped")
    func wit() throws {
        let authority = try TestAuthority("acme.test")
        let bundle = authority.witBundle
        for algorithm in [JWSAlgorithm.es256, .es384, .es512, .ps256] {
            let source = TestWITSource(
                svid: try authority.witSVID("/web", algorithm: algorithm), bundles: [bundle])
            let request = try ProofRequest(
                method: "GET", requestTarget: "/", fields: [], bodySHA256: nil, channel: .tls)
            let fields = try WorkloadProofSigner().fields(
                for: request, audience: "svc", svid: try source.witSVID())
            let presented = try ProofRequest(
                method: "GET", requestTarget: "/", fields: fields, bodySHA256: nil, channel: .tls)
            let authenticator = WITSVIDAuthenticator(
                try WorkloadProofVerifier(audience: try ProofAudience(names: ["svc"])),
                bundles: source, authorizer: .exactly(try authority.id("/web")))
            source.set(bundles: [])
            #expect(throws: WITAuthenticationError.self) {
                try authenticator.authenticate(presented)
            }
            source.set(bundles: [bundle])
            #expect(try authenticator.authenticate(presented).id.path == "/web")
        }
        let source = try TestWITSource(authority, "/web")
        #expect(throws: TestSourceError.self) { try source.witSVID(id: try authority.id("/db")) }
        source.set(svid: nil)
        #expect(throws: TestSourceError.self) { try source.witSVID() }
        #expect(source.requestCount == 2)
        #expect(throws: WITSVIDError.self) {
            try authority.witSVID("/web", claims: ["aud": "x"])
        }
        try authority.rotate()
        #expect(authority.witBundle.authorities.count == 2)
        authority.dropOldAuthorities()
        #expect(authority.witBundle.authorities.keys.sorted() == ["wit-2"])
    }

    @Test("After a rotation old SVIDs are believed until the old authorities are dropped")
    func rotation() async throws {
        let authority = try TestAuthority("acme.test")
        let svid = try authority.x509SVID("/web")
        let token = try authority.jwtSVID("/web", audience: ["db"]).token
        try authority.rotate()
        #expect(try authority.bundle.x509Authorities.count == 2)
        #expect(try authority.bundle.sequenceNumber == 2)
        _ = try await X509SVIDVerifier(bundles: try authority.x509Bundle).verify(
            chainDER: svid.certificateChainDER)
        _ = try JWTSVID.validate(token, audience: "db", bundles: authority.jwtBundle)
        authority.dropOldAuthorities()
        await #expect(throws: X509SVIDError.self) {
            try await X509SVIDVerifier(bundles: try authority.x509Bundle).verify(
                chainDER: svid.certificateChainDER)
        }
        #expect(throws: JWTSVIDError.self) {
            try JWTSVID.validate(token, audience: "db", bundles: authority.jwtBundle)
        }
        let new = try authority.x509SVID("/web")
        _ = try await X509SVIDVerifier(bundles: try authority.x509Bundle).verify(
            chainDER: new.certificateChainDER)
    }

    @Test("Tokens are signed with every kind of key that JWT-SVID allows")
    func jwtKeys() throws {
        for keyType in TestKeyType.allCases where keyType != .ed25519 {
            let authority = try TestAuthority("acme.test", jwtKeyType: keyType)
            let token = try authority.jwtSVID("/web", audience: ["db"], claims: ["x": 1]).token
            let svid = try JWTSVID.validate(token, audience: "db", bundles: authority.jwtBundle)
            #expect(svid.claims["x"] == .int(1))
        }
        #expect(throws: JOSEError.self) { try TestAuthority("acme.test", jwtKeyType: .ed25519) }
    }

    @Test("An impostor of the same name is not believed")
    func impostor() async throws {
        let authority = try TestAuthority("acme.test")
        let forged = try TestAuthority("acme.test").x509SVID("/web")
        await #expect(throws: X509SVIDError.self) {
            try await X509SVIDVerifier(bundles: try authority.x509Bundle).verify(
                chainDER: forged.certificateChainDER)
        }
    }
}
