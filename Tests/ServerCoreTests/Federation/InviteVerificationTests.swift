import Crypto
import Foundation
import SPIFFE
import ServerTestSupport
import Testing
import X509

@testable import ServerCore

@Suite struct InviteVerificationTests {
    private func bundle(_ plane: TestPlane) throws -> SPIFFEBundle {
        try #require(plane.directory.ownBundle).published()
    }

    private func line(
        _ plane: TestPlane, web: Bool = false, audience: String? = nil,
        signer: String = "/cygnet/federation/invite"
    ) async throws -> InviteLine {
        let invite = try Invite(
            to: try self.bundle(plane), bundleEndpointURL: "https://acme.test/",
            profile: web ? .httpsWeb : .httpsSPIFFE(endpointID: plane.id("/spire/server")),
            expiresAt: plane.clock.unixTime + 80_000, nonce: [UInt8](repeating: 7, count: 16))
        let svid = try await plane.issuer.issue(
            JWTIssuance(
                spiffeID: plane.id(signer), audience: [audience ?? invite.signatureAudience],
                ttl: 80_000, origin: .mint), requestedBy: "test")
        return InviteLine(invite, token: svid.token)
    }

    /// What the endpoint shows now.
    private func endpoint(
        _ plane: TestPlane, path: String = "/spire/server"
    ) async throws -> InviteEndpointEvidence {
        let key = P256.Signing.PrivateKey()
        let issued = try await plane.issuer.issue(
            X509Issuance(
                spiffeID: plane.id(path), publicKey: Certificate.PublicKey(key.publicKey),
                origin: .server), requestedBy: "test")
        return .presented(certificatesDER: issued.chain)
    }

    private func refusal(
        _ line: InviteLine, _ bundle: SPIFFEBundle, _ evidence: InviteEndpointEvidence,
        _ plane: TestPlane
    ) async -> InviteError.Code? {
        do throws(InviteError) {
            _ = try await line.verify(bundle, from: evidence, now: plane.clock.now())
            return nil
        } catch {
            return error.code
        }
    }

    @Test func theSameBundleIsAccepted() async throws {
        let plane = try await TestPlane()
        let bundle = try self.bundle(plane)
        let spiffe = try await self.line(plane).verify(
            bundle, from: self.endpoint(plane), now: plane.clock.now())
        #expect(spiffe.grounds == .sameBundle && spiffe.bundle == bundle)
        let web = try await self.line(plane, web: true).verify(
            bundle, from: .webPKI, now: plane.clock.now())
        #expect(web.grounds == .sameBundle)
    }

    @Test func rotationInBetweenBreaksNothing() async throws {
        let plane = try await TestPlane()
        let (spiffe, web) = (try await self.line(plane), try await self.line(plane, web: true))
        // Past half of the authorities' day: the next ones are prepared and in the bundle.
        plane.clock.advance(by: 50_000)
        try await plane.authorities.rotate()
        let bundle = try self.bundle(plane)
        #expect(BundleFingerprint.of(bundle) != spiffe.invite.bundleFingerprint)
        let evidence = try await self.endpoint(plane)
        let now = plane.clock.now()
        #expect(
            try await spiffe.verify(bundle, from: evidence, now: now).grounds == .namedAuthority)
        #expect(try await web.verify(bundle, from: .webPKI, now: now).grounds == .webPKI)
    }

    @Test func anAuthorityThatTheInviteDoesNotNameCountsForNothing() async throws {
        let plane = try await TestPlane()
        let line = try await self.line(plane)
        // Somebody in the middle: the real bundle with an authority of theirs, which signs for their endpoint.
        let attacker = try await TestPlane(clock: plane.clock)
        let theirs = try self.bundle(attacker)
        let ours = try self.bundle(plane)
        let mixed = try SPIFFEBundle(
            trustDomain: plane.trustDomain,
            x509Authorities: ours.x509Authorities + theirs.x509Authorities,
            jwtAuthorities: ours.jwtAuthorities)
        let evidence = try await self.endpoint(attacker)
        #expect(await self.refusal(line, mixed, evidence, plane) == .endpoint)
        #expect(await self.refusal(line, theirs, evidence, plane) == .bundle)
        let web = try await self.line(plane, web: true)
        #expect(await self.refusal(web, theirs, .webPKI, plane) == .bundle)
        // A bundle without authorities, and an endpoint without a certificate.
        let empty = try SPIFFEBundle(trustDomain: plane.trustDomain)
        #expect(await self.refusal(line, empty, evidence, plane) == .bundle)
        let none = InviteEndpointEvidence.presented(certificatesDER: [])
        #expect(await self.refusal(line, ours, none, plane) == .endpoint)
    }

    @Test func theEndpointMustBeTheOneThatIsNamed() async throws {
        let plane = try await TestPlane()
        let line = try await self.line(plane)
        let bundle = try self.bundle(plane)
        let other = try await self.endpoint(plane, path: "/web")
        #expect(await self.refusal(line, bundle, other, plane) == .endpoint)
        #expect(await self.refusal(line, bundle, .webPKI, plane) == .endpoint)
        let web = try await self.line(plane, web: true)
        let evidence = try await self.endpoint(plane)
        #expect(await self.refusal(web, bundle, evidence, plane) == .endpoint)
    }

    @Test func theSignatureMustBeForThisInviteByItsSigner() async throws {
        let plane = try await TestPlane()
        let bundle = try self.bundle(plane)
        let good = try await self.line(plane, web: true)
        for line in [
            try await self.line(plane, web: true, audience: "another"),
            try await self.line(plane, web: true, signer: "/web"),
            InviteLine(good.invite, token: "a.b.c"),
            InviteLine(good.invite, token: try await self.line(plane).token),
            InviteLine(
                good.invite,
                token: try await self.line(TestPlane(clock: plane.clock), web: true).token),
        ] {
            #expect(await self.refusal(line, bundle, .webPKI, plane) == .signature)
        }
        #expect(await self.refusal(good, bundle, .webPKI, plane) == nil)
    }

    @Test func timeEnds() async throws {
        let plane = try await TestPlane()
        let line = try await self.line(plane, web: true)
        let bundle = try self.bundle(plane)
        plane.clock.advance(by: 79_999)
        #expect(await self.refusal(line, bundle, .webPKI, plane) == nil)
        plane.clock.advance(by: 1)
        #expect(await self.refusal(line, bundle, .webPKI, plane) == .expired)
    }

    @Test func theExpiryEndsBeforeTheNewestAuthorityIsReplaced() async throws {
        let plane = try await TestPlane()
        let latest = try #require(Invite.latestExpiry(try self.bundle(plane)))
        // A day, and ten seconds that certificates begin earlier; a sixth is left then.
        #expect(latest == plane.clock.unixTime + 86_400 - 86_410 / 6)
        #expect(
            Invite.latestExpiry(try SPIFFEBundle(trustDomain: plane.trustDomain)) == nil)
    }
}
