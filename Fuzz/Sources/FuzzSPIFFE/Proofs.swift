import Crypto
import Foundation
import SPIFFE
import X509

/// WIT-SVIDs, their keys and the proofs that come with requests.
enum Proofs {
    /// A trust domain with one key and one workload with a WIT-SVID, made for this run.
    private struct Issuer {
        let signer: JWSSigner
        let bundle: WITBundle
        /// A good WIT-SVID, whose key no input can hold.
        let token: String
        let verifier: WorkloadProofVerifier

        init(_ now: Date) throws {
            let key = P256.Signing.PrivateKey()
            self.signer = try JWSSigner(
                privateKey: Certificate.PrivateKey(key), keyID: "k", type: "wit+jwt")
            let der = Array(key.publicKey.derRepresentation)
            self.bundle = WITBundle(
                trustDomain: try TrustDomain("acme.test"),
                authorities: ["k": try JWTVerificationKey(publicKeyDER: der)])
            let proofKey = try ProofKey(generatingFor: .es256)
            let claims: JSONValue = [
                "sub": "spiffe://acme.test/x", "exp": .int(Int64(now.timeIntervalSince1970) + 3600),
                "cnf": ["jwk": .object(proofKey.confirmationKey.jwk)],
            ]
            self.token = try self.signer.sign(claims: claims.serialized())
            self.verifier = try WorkloadProofVerifier(
                audience: ProofAudience(names: ["a"], origins: ["https://a.test"]))
        }
    }

    private static let now = Date(timeIntervalSince1970: 1_800_000_000)
    private static let issuer = try? Issuer(Self.now)

    /// A token as it comes.
    static func token(_ bytes: [UInt8]) {
        guard let issuer = self.issuer else { return demand(false, "a key can be made") }
        let svid = try? UnprovenWITSVID(
            validating: String(decoding: bytes, as: UTF8.self), bundles: issuer.bundle,
            now: self.now)
        demand(svid == nil, "no input is signed")
    }

    /// The input is the claims; the signature is good.
    static func signedToken(_ bytes: [UInt8]) {
        guard let issuer = self.issuer, let token = try? issuer.signer.sign(claims: bytes),
            let svid = try? UnprovenWITSVID(
                validating: token, bundles: issuer.bundle, now: self.now)
        else { return }
        demand(svid.claimedID.trustDomain.name == "acme.test")
        demand(svid.expiresAt.timeIntervalSince(self.now) > -120)
        demand(svid.confirmationKey.publicKey.algorithms.contains(svid.confirmationKey.algorithm))
        let claims = try? JSONValue(parsing: bytes)
        demand(claims?["aud"] == nil && claims?["cnf"] != nil)
    }

    /// The private key of a WIT-SVID as the Workload API sends it.
    static func key(_ bytes: [UInt8]) {
        guard let key = try? ProofKey(jwk: String(decoding: bytes, as: UTF8.self)) else { return }
        guard let written = try? key.privateJWK(), let again = try? ProofKey(jwk: written) else {
            return demand(false, "what is written can be read")
        }
        demand(again.confirmationKey == key.confirmationKey)
    }

    /// Lines of a request that somebody sends with a WIT-SVID that is not his: the method, the target, then
    /// `name: value`.
    static func request(_ bytes: [UInt8]) {
        guard let issuer = self.issuer else { return demand(false, "a key can be made") }
        var lines = String(decoding: bytes, as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false)[...]
        let method = lines.popFirst() ?? ""
        let target = lines.popFirst() ?? ""
        var fields = [ProofRequest.Field(name: "Workload-Identity-Token", value: issuer.token)]
        for line in lines {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            fields.append(
                .init(name: String(parts[0]), value: String(parts.count > 1 ? parts[1] : "")))
        }
        guard
            let request = try? ProofRequest(
                method: String(method), requestTarget: String(target), fields: fields,
                bodySHA256: ProofRequest.sha256(of: []), channel: .tls)
        else { return }
        let proven = try? issuer.verifier.verify(request, bundles: issuer.bundle, now: self.now) {
            _ in
            .fresh
        }
        demand(proven == nil, "nobody proves what he does not own")
    }
}
