import Foundation
import SPIFFE
import SPIFFETesting
import Testing

@Suite("Verification within partners' limits") struct PartnerLimitTests {
    private let acme: TestAuthority
    private let energy: TestAuthority

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.energy = try TestAuthority("energy.test")
    }

    /// Limits, and what becomes of X509-SVIDs and of tokens with an accepted path and with another one.
    private func cases() throws -> [(
        limits: TrustDomainLimits?, x509: [Bool], tokens: [Bool]
    )] {
        let energy = self.energy.trustDomain
        return [
            (nil, [true, true], [true, true]),
            (try TrustDomainLimits(of: energy), [true, true], [true, true]),
            (
                try TrustDomainLimits(of: energy, acceptedPaths: ["/agents/*"]), [true, false],
                [true, false]
            ),
            (
                try TrustDomainLimits(of: energy, allowsX509: false, acceptedPaths: ["/agents/*"]),
                [false, false], [true, false]
            ),
            (try TrustDomainLimits(of: energy, allowsJWT: false), [true, true], [false, false]),
            (
                try TrustDomainLimits(of: energy, acceptedPaths: []), [false, false],
                [false, false]
            ),
            // Somebody else's say nothing of it.
            (
                try TrustDomainLimits(of: self.acme.trustDomain, acceptedPaths: []), [true, true],
                [true, true]
            ),
        ]
    }

    private let paths = ["/agents/a", "/meters/7"]

    @Test("X509-SVIDs: with limits that are given, and with those that the bundles' source knows")
    func x509() async throws {
        for one in try self.cases() {
            let source = TestX509Source(svid: nil, bundles: [try self.energy.x509Bundle])
            source.set(limits: one.limits.map { [$0] } ?? [])
            for verifier in [
                X509SVIDVerifier(bundles: try self.energy.x509Bundle, limits: one.limits),
                X509SVIDVerifier(bundles: source),
            ] {
                for (path, isAccepted) in zip(self.paths, one.x509) {
                    let chain = try self.energy.x509SVID(path, intermediates: 1).certificateChainDER
                    do {
                        _ = try await verifier.verify(chainDER: chain)
                        #expect(isAccepted, "\(path)")
                    } catch {
                        #expect(!isAccepted, "\(error)")
                        #expect(error.code == .outsideLimits)
                        #expect(error.message.contains("energy.test"))
                    }
                }
            }
        }
    }

    @Test("X509-SVIDs whose path has name constraints are held against limits too")
    func nameConstraints() async throws {
        let authority = try TestAuthority("energy.test", permittedURIDomains: ["energy.test"])
        let limits = try TrustDomainLimits(
            of: authority.trustDomain, acceptedPaths: ["/agents/*"])
        let verifier = X509SVIDVerifier(bundles: try authority.x509Bundle, limits: limits)
        _ = try await verifier.verify(
            chainDER: try authority.x509SVID("/agents/a").certificateChainDER)
        let outside = try authority.x509SVID("/meters/7").certificateChainDER
        let error = await #expect(throws: X509SVIDError.self) {
            try await verifier.verify(chainDER: outside)
        }
        #expect(error?.code == .outsideLimits)
    }

    @Test("a chain that nobody vouches for is untrusted first, whatever its path is")
    func order() async throws {
        let impostor = try TestAuthority("energy.test").x509SVID("/meters/7").certificateChainDER
        let verifier = X509SVIDVerifier(
            bundles: try self.energy.x509Bundle,
            limits: try TrustDomainLimits(of: self.energy.trustDomain, acceptedPaths: []))
        let error = await #expect(throws: X509SVIDError.self) {
            try await verifier.verify(chainDER: impostor)
        }
        #expect(error?.code != .outsideLimits)
    }

    @Test("JWT-SVIDs: in the same way")
    func jwt() throws {
        for one in try self.cases() {
            let source = TestJWTSource(bundles: [self.energy.jwtBundle])
            source.set(limits: one.limits.map { [$0] } ?? [])
            for (path, isAccepted) in zip(self.paths, one.tokens) {
                let token = try self.energy.jwtSVID(path, audience: ["db"]).token
                for validate in [
                    {
                        try JWTSVID.validate(
                            token, audience: "db", bundles: self.energy.jwtBundle,
                            limits: one.limits)
                    }, { try JWTSVID.validate(token, audience: "db", bundles: source) },
                ] {
                    do {
                        _ = try validate()
                        #expect(isAccepted, "\(path)")
                    } catch {
                        #expect(!isAccepted, "\(error)")
                        #expect((error as? JWTSVIDError)?.code == .outsideLimits)
                    }
                }
            }
        }
    }

    @Test("WIT-SVIDs go with JWT-SVIDs, and their proofs with them")
    func wit() throws {
        let request = try ProofRequest(
            method: "GET", requestTarget: "/", fields: [], bodySHA256: nil, channel: .tls)
        let proofs = try WorkloadProofVerifier(audience: try ProofAudience(names: ["svc"]))
        for one in try self.cases() {
            let source = TestWITSource(svid: nil, bundles: [self.energy.witBundle])
            source.set(limits: one.limits.map { [$0] } ?? [])
            for (path, isAccepted) in zip(self.paths, one.tokens) {
                let svid = try self.energy.witSVID(path)
                let presented = try ProofRequest(
                    method: "GET", requestTarget: "/",
                    fields: try WorkloadProofSigner().fields(
                        for: request, audience: "svc", svid: svid),
                    bodySHA256: nil, channel: .tls)
                do {
                    _ = try UnprovenWITSVID(
                        validating: svid.token, bundles: self.energy.witBundle, limits: one.limits)
                    _ = try UnprovenWITSVID(validating: svid.token, bundles: source)
                    #expect(isAccepted, "\(path)")
                } catch {
                    #expect(!isAccepted, "\(error)")
                    #expect(error.code == .outsideLimits)
                }
                do {
                    _ = try proofs.verify(presented, bundles: source) { _ in .fresh }
                    #expect(isAccepted, "\(path)")
                } catch {
                    #expect(!isAccepted, "\(error)")
                    #expect(error.code == .svid)
                }
            }
        }
    }

    @Test("limits that have not been told accept nothing, and say so")
    func unknown() async throws {
        let unknown = TrustDomainLimits.unknown(of: self.energy.trustDomain)
        let chain = try self.energy.x509SVID("/agents/a").certificateChainDER
        let x509 = await #expect(throws: X509SVIDError.self) {
            try await X509SVIDVerifier(bundles: try self.energy.x509Bundle, limits: unknown)
                .verify(chainDER: chain)
        }
        #expect(x509?.code == .limitsUnknown)
        let token = try self.energy.jwtSVID("/agents/a", audience: ["db"]).token
        let jwt = #expect(throws: JWTSVIDError.self) {
            try JWTSVID.validate(
                token, audience: "db", bundles: self.energy.jwtBundle, limits: unknown)
        }
        #expect(jwt?.code == .limitsUnknown)
        let svid = try self.energy.witSVID("/agents/a")
        let wit = #expect(throws: WITSVIDError.self) {
            try UnprovenWITSVID(
                validating: svid.token, bundles: self.energy.witBundle, limits: unknown)
        }
        #expect(wit?.code == .limitsUnknown)
    }
}
