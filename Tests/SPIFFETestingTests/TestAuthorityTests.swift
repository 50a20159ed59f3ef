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
