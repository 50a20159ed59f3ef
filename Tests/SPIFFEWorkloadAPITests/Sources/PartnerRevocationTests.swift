import Foundation
import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing

/// What a partner has taken back counts for peers of the partner's trust domain, and for nobody else.
@Suite("Revocations of a partner", .timeLimit(.minutes(1))) struct PartnerRevocationTests {
    private func refusal(
        _ peer: X509SVID, _ source: any X509BundleSource
    ) async throws -> X509SVIDError.Code? {
        do {
            _ = try await X509SVIDVerifier(bundles: source).verify(
                chainDER: peer.certificateChainDER)
            return nil
        } catch {
            return error.code
        }
    }

    @Test("by the crl field and by the agent's stream", arguments: [true, false])
    func certificates(byField: Bool) async throws {
        let (own, partner) = (try TestAuthority("acme.test"), try TestAuthority("partner.test"))
        let (revoked, good) = (try partner.x509SVID("/peer"), try partner.x509SVID("/other"))
        let ours = try own.x509SVID("/peer")
        partner.revoke(revoked)
        let fake = try FakeWorkloadAPI()
        fake.set(
            x509: X509Context(
                svids: [try own.x509SVID("/web")],
                bundles: X509BundleSet([try own.x509Bundle, try partner.x509Bundle]),
                revocationLists: byField
                    ? [
                        try own.certificateRevocationList(),
                        try partner.certificateRevocationList(),
                    ] : []))
        if byField {
            fake.fail(.fetchRevocations, with: .notSupported)
        } else {
            try fake.serveRevocations(of: [own, partner])
        }
        try await fake.serving {
            try await withX509Source(
                address: fake.address, readyWithin: patience, configuration: quick
            ) { source in
                let (changes, changed) = AsyncStream.makeStream(of: Void.self)
                let observation = source.observeRevocations { changed.yield() }
                func isKnown() -> Bool {
                    source.revocations(for: partner.trustDomain)?.certificateLists.isEmpty == false
                }
                if !isKnown() { for await _ in changes where isKnown() { break } }
                withExtendedLifetime(observation) {}
                let found1 = try await self.refusal(revoked, source)
                #expect(found1 == .revoked)
                let found2 = try await self.refusal(good, source)
                #expect(found2 == nil)
                let found3 = try await self.refusal(ours, source)
                #expect(found3 == nil)
            }
        }
    }

    @Test("tokens by the partner's status list, which says nothing about ours")
    func tokens() throws {
        let (own, partner) = (try TestAuthority("acme.test"), try TestAuthority("partner.test"))
        func token(_ authority: TestAuthority) throws -> JWTSVID {
            try authority.jwtSVID(
                "/peer", audience: ["db"], claims: ["status": authority.statusClaim(7)])
        }
        let (theirs, ours) = (try token(partner), try token(own))
        partner.revoke(theirs)
        // As over federation: lists, and no digests.
        let lists = TrustDomainRevocations(
            trustDomain: partner.trustDomain,
            statusLists: Array(try partner.trustDomainRevocations().statusLists.values))
        let bundles = JWTBundleSet([own.jwtBundle, partner.jwtBundle])
        let error = #expect(throws: JWTSVIDError.self) {
            try JWTSVID.validate(
                theirs.token, audience: "db", bundles: bundles,
                revocation: .standard.asking(lists))
        }
        #expect(error?.code == .revoked)
        _ = try JWTSVID.validate(
            ours.token, audience: "db", bundles: bundles, revocation: .standard.asking(lists))
    }
}
