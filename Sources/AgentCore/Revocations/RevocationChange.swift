import Crypto
package import SPIFFE

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What the server says of a trust domain's revocations.
package struct DomainRevocations: Sendable, Hashable {
    package var trustDomain: TrustDomain
    /// CertificateLists (RFC 5280), DER, as they came; they replace those held.
    package var crls: [[UInt8]]
    /// Signed tokens, `application/statuslist+jwt`, by their URI; they replace those held.
    package var statusLists: [String: String]
    package var revokedTokens: [SigningInputDigest]
    /// True: `revokedTokens` are all there are. False: they join those held.
    package var hasAllTokens: Bool

    package init(
        trustDomain: TrustDomain, crls: [[UInt8]] = [], statusLists: [String: String] = [:],
        revokedTokens: [SigningInputDigest] = [], hasAllTokens: Bool = true
    ) {
        self.trustDomain = trustDomain
        self.crls = crls
        self.statusLists = statusLists
        self.revokedTokens = revokedTokens
        self.hasAllTokens = hasAllTokens
    }
}

/// A change of the revocations an agent holds, applied as a whole.
package struct RevocationChange: Sendable {
    package var upserted: [DomainRevocations]
    /// Of these nothing is known any more.
    package var removed: [TrustDomain]
    /// What the server wants to hear when the change is applied; 0 when it does not ask.
    package var confirmation: UInt64

    package init(
        upserted: [DomainRevocations] = [], removed: [TrustDomain] = [],
        confirmation: UInt64 = 0
    ) {
        self.upserted = upserted
        self.removed = removed
        self.confirmation = confirmation
    }
}

/// SHA-256 of a token's signing input, `header.payload`: by it a revoked JWT- or WIT-SVID is known.
package struct SigningInputDigest: Hashable, Sendable {
    private let words: SIMD4<UInt64>

    /// - Parameter bytes: 32 of them.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 32 else { return nil }
        var words = SIMD4<UInt64>()
        for (index, byte) in bytes.enumerated() {
            words[index / 8] = words[index / 8] << 8 | UInt64(byte)
        }
        self.words = words
    }

    /// - Parameter token: a JWS in compact form; nil when it has not three parts.
    package init?(ofToken token: String) {
        let bytes = token.utf8
        guard let end = bytes.lastIndex(of: UInt8(ascii: ".")),
            bytes[..<end].contains(UInt8(ascii: "."))
        else { return nil }
        self.init(bytes: SHA256.hash(data: Array(bytes[..<end])).map { $0 })
    }

    package var bytes: [UInt8] {
        (0..<32).map { UInt8(truncatingIfNeeded: self.words[$0 / 8] >> (56 - 8 * ($0 % 8))) }
    }
}
