import Foundation
import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@Suite("Revocations of sources", .timeLimit(.minutes(1))) struct RevocationSourceTests {
    /// Returns as soon as the source has been told something new and the condition holds.
    private func wait(_ source: any RevocationSource, until isTrue: () -> Bool) async {
        let (changes, changed) = AsyncStream.makeStream(of: Void.self)
        let observation = source.observeRevocations { changed.yield() }
        if isTrue() { return }
        for await _ in changes where isTrue() { break }
        withExtendedLifetime(observation) {}
    }

    @Test(
        "the agent's stream: a certificate that was taken back is refused, a bad list changes nothing"
    )
    func stream() async throws {
        let authority = try TestAuthority("acme.test")
        let peer = try authority.x509SVID("/peer")
        let fake = try FakeWorkloadAPI()
        try fake.serve(authority, paths: ["/web"])
        try await fake.serving {
            try await withX509Source(
                address: fake.address, readyWithin: patience, configuration: quick
            ) { source in
                let verifier = X509SVIDVerifier(bundles: source)
                _ = try await verifier.verify(chainDER: peer.certificateChainDER)
                authority.revoke(peer)
                try fake.serveRevocations(of: [authority])
                await self.wait(source) {
                    source.revocations(for: authority.trustDomain)?.certificateLists.first?.count
                        == 1
                }
                for _ in 0..<2 {
                    let error = await #expect(throws: X509SVIDError.self) {
                        try await verifier.verify(chainDER: peer.certificateChainDER)
                    }
                    #expect(error?.code == .revoked)
                    fake.send(
                        Cygnet_Workload_V1_FetchRevocationsResponse.with { response in
                            response.trustDomains = [
                                Cygnet_Workload_V1_TrustDomainRevocations.with {
                                    $0.trustDomain = "acme.test"
                                    $0.crls = [Data([0x30, 0x00])]
                                }
                            ]
                        })
                    await self.wait(source) { source.lastError?.code == .invalidResponse }
                }
            }
        }
    }

    @Test("the crl field: a certificate that was taken back is refused without the agent's stream")
    func field() async throws {
        let authority = try TestAuthority("acme.test")
        let peer = try authority.x509SVID("/peer")
        authority.revoke(peer)
        let fake = try FakeWorkloadAPI()
        fake.fail(.fetchRevocations, with: .notSupported)
        fake.set(
            x509: X509Context(
                svids: [try authority.x509SVID("/web")],
                bundles: X509BundleSet([try authority.x509Bundle]),
                revocationLists: [try authority.certificateRevocationList()]))
        try await fake.serving {
            try await withX509Source(
                address: fake.address, readyWithin: patience, configuration: quick
            ) { source in
                let error = await #expect(throws: X509SVIDError.self) {
                    try await X509SVIDVerifier(bundles: source)
                        .verify(chainDER: peer.certificateChainDER)
                }
                #expect(error?.code == .revoked)
            }
        }
    }

    @Test("tokens: by digest and by status list")
    func tokens() async throws {
        let authority = try TestAuthority("acme.test")
        let token = try authority.jwtSVID("/peer", audience: ["db"])
        let listed = try authority.jwtSVID(
            "/peer", audience: ["db"], claims: ["status": authority.statusClaim(7)])
        let good = try authority.jwtSVID(
            "/peer", audience: ["db"], claims: ["status": authority.statusClaim(8)])
        authority.revoke(token)
        authority.revoke(listed, status: .suspended)
        let known = try authority.trustDomainRevocations()
        let listsOnly = TrustDomainRevocations(
            trustDomain: authority.trustDomain, statusLists: Array(known.statusLists.values))
        for (svid, source) in [(token, known), (listed, known), (listed, listsOnly)] {
            let error = #expect(throws: JWTSVIDError.self) {
                try JWTSVID.validate(
                    svid.token, audience: "db", bundles: authority.jwtBundle,
                    revocation: .standard.asking(source))
            }
            #expect(error?.code == .revoked)
        }
        _ = try JWTSVID.validate(
            good.token, audience: "db", bundles: authority.jwtBundle,
            revocation: .standard.asking(known))
        // Long overdue: closed, unless told otherwise.
        let late = Date() + 100 * 60
        let error = #expect(throws: JWTSVIDError.self) {
            try JWTSVID.validate(
                good.token, audience: "db", bundles: authority.jwtBundle, now: late,
                leeway: .seconds(7200), revocation: .standard.asking(known))
        }
        #expect(error?.code == .revocationUnknown)
        for policy in [RevocationPolicy.failOpen, .off, .failClosed(after: .seconds(7200))] {
            _ = try JWTSVID.validate(
                good.token, audience: "db", bundles: authority.jwtBundle, now: late,
                leeway: .seconds(7200), revocation: policy.asking(known))
        }
    }
}
