import Crypto
import Foundation
import LoopbackTestSupport
import SPIFFE
import ServerCore
import ServerTestSupport
import X509

/// A trust domain that invites others: `b.test` unless told otherwise, with authorities of its own.
struct InvitingPartner: Sendable {
    let plane: TestPlane

    init(_ name: String = "b.test") async throws {
        // Commands look at the machine's clock.
        self.plane = try await TestPlane(
            clock: TestClock(Int64(Date().timeIntervalSince1970)), trustDomain: name)
    }

    init(plane: TestPlane) { self.plane = plane }

    var bundle: SPIFFEBundle {
        get throws {
            let stored = self.plane.directory.ownBundle
            return try (stored ?? TrustBundle(trustDomain: self.plane.trustDomain)).published()
        }
    }

    /// An invite as `federation invite` makes them.
    ///
    /// - Parameters:
    ///   - endpointID: with the profile `https_spiffe`; nil for `https_web`.
    ///   - ttl: in seconds, from now.
    ///   - bundle: what the fingerprints are of; its own if nil.
    ///   - signer: who signs; this partner if nil.
    func line(
        url: String, endpointID: SPIFFEID? = nil, ttl: Int64 = 3_600, bundle: SPIFFEBundle? = nil,
        signer: TestPlane? = nil
    ) async throws -> InviteLine {
        let invite = try Invite(
            to: try bundle ?? self.bundle, bundleEndpointURL: url,
            profile: endpointID.map { .httpsSPIFFE(endpointID: $0) } ?? .httpsWeb,
            expiresAt: self.plane.clock.unixTime + ttl, nonce: [UInt8](repeating: 7, count: 16))
        let svid = try await (signer ?? self.plane).issuer.issue(
            JWTIssuance(
                spiffeID: try Invite.signerID(of: self.plane.trustDomain),
                audience: [invite.signatureAudience], ttl: 7_200, origin: .mint),
            requestedBy: "test")
        return InviteLine(invite, token: svid.token)
    }

    /// An X509-SVID for an endpoint of the profile `https_spiffe`.
    func svid(_ path: String = "/spire/server") async throws -> ServerCertificate {
        let key = P256.Signing.PrivateKey()
        let issued = try await self.plane.issuer.issue(
            X509Issuance(
                spiffeID: try self.plane.id(path), publicKey: Certificate.PublicKey(key.publicKey),
                origin: .server), requestedBy: "test")
        return ServerCertificate(chain: issued.chain, keyDER: Array(key.derRepresentation))
    }
}
