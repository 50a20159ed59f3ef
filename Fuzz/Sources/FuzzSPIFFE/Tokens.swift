import Crypto
import Foundation
import SPIFFE
import X509

/// JWT-SVIDs.
enum Tokens {
    /// A trust domain with one key, made for this run: no input can hold a signature by it.
    private struct Issuer {
        let signer: JWSSigner
        let bundles: JWTBundleSet

        init() throws {
            let key = P256.Signing.PrivateKey()
            self.signer = try JWSSigner(privateKey: Certificate.PrivateKey(key), keyID: "k")
            let der = Array(key.publicKey.derRepresentation)
            self.bundles = JWTBundleSet([
                JWTBundle(
                    trustDomain: try TrustDomain("acme.test"),
                    authorities: ["k": try JWTVerificationKey(publicKeyDER: der)])
            ])
        }
    }

    /// Who signs status lists.
    struct StatusIssuer: Sendable {
        let signer: JWSSigner
        let bundle: JWTBundle

        init() throws {
            let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
            self.signer = try JWSSigner(privateKey: key, keyID: "k", type: "statuslist+jwt")
            self.bundle = JWTBundle(
                trustDomain: try TrustDomain("acme.test"),
                authorities: ["k": self.signer.publicKey])
        }
    }

    static let statusIssuer = try? StatusIssuer()
    private static let issuer = try? Issuer()
    private static let now = Date(timeIntervalSince1970: 1_800_000_000)

    static func any(_ bytes: [UInt8]) {
        guard let issuer = self.issuer else { return demand(false, "a key can be made") }
        let token = String(decoding: bytes, as: UTF8.self)
        let validated = try? JWTSVID.validate(
            token, audience: "a", bundles: issuer.bundles, now: self.now)
        demand(validated == nil, "no input is signed")
        guard let svid = try? JWTSVID.unverified(token) else { return }
        demand(svid.token == token && !svid.audience.isEmpty)
    }

    /// The input is the claims; the signature is good.
    static func signed(_ bytes: [UInt8]) {
        guard let issuer = self.issuer, let token = try? issuer.signer.sign(claims: bytes),
            let svid = try? JWTSVID.validate(
                token, audience: "a", bundles: issuer.bundles, now: self.now)
        else { return }
        demand(svid.id.trustDomain.name == "acme.test")
        demand(svid.audience.contains("a"))
        demand(svid.expiresAt.timeIntervalSince(self.now) > -60)
        let again = try? JSONValue(parsing: JSONValue.object(svid.claims).serialized())
        demand(again?.objectValue != nil)
    }
}
