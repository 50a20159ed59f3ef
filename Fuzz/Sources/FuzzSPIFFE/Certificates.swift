import Foundation
import SPIFFE
import X509

/// DER: certificates and keys.
enum Certificates {
    private static let trustDomain = try? TrustDomain("acme.test")

    /// Two bytes: how long the key is; the key; the chain.
    static func svid(_ bytes: [UInt8]) {
        guard bytes.count >= 2 else { return }
        let length = min(Int(bytes[0]) << 8 | Int(bytes[1]), bytes.count - 2)
        let key = Array(bytes[2..<(2 + length)])
        let chain = Array(bytes[(2 + length)...])
        guard let svid = try? X509SVID(certificateChainDER: chain, privateKeyPKCS8DER: key) else {
            return
        }
        demand(svid.concatenatedDER == chain)
        demand(!svid.id.path.isEmpty)
        demand(svid.privateKey.publicKey == svid.leaf.publicKey)
        demand(
            (try? X509SVID(certificates: svid.certificateChainDER, privateKeyPKCS8DER: key)) == svid
        )
    }

    /// A peer's chain; the last certificate is also what its trust domain vouches with.
    static func chain(_ bytes: [UInt8]) {
        guard let chain = try? DERChain.split(bytes), let last = chain.last else { return }
        demand(Array(chain.joined()) == bytes)
        guard let trustDomain = self.trustDomain,
            let bundle = try? X509Bundle(trustDomain: trustDomain, authoritiesDER: [last])
        else { return }
        // In the time of the kept certificates.
        let verifier = X509SVIDVerifier(bundles: X509BundleSet([bundle])) {
            Date(timeIntervalSince1970: 1_800_000_000)
        }
        guard case .verified(let peer)? = try? verifier.verifyPath(chainDER: chain) else { return }
        demand(peer.id.trustDomain == trustDomain && !peer.id.path.isEmpty)
        demand(peer.chain.count > 1, "nobody vouches for himself")
    }

    static func bundle(_ bytes: [UInt8]) {
        guard let trustDomain = self.trustDomain,
            let bundle = try? X509Bundle(trustDomain: trustDomain, concatenatedDER: bytes)
        else { return }
        demand(bundle.authorities.count <= bytes.count)
    }

    static func publicKey(_ bytes: [UInt8]) {
        guard let key = try? JWTVerificationKey(publicKeyDER: bytes) else { return }
        demand((try? JWTVerificationKey(publicKeyDER: key.publicKeyDER)) == key)
        demand(!key.algorithms.isEmpty)
    }
}
