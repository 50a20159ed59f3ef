import Crypto
package import SPIFFE

/// SHA-256 fingerprints of what a bundle contains.
///
/// Of the content, not of the document's bytes: two servers that write JSON differently, another order, another
/// refresh hint or sequence number give the same fingerprint. Any other authority gives another one.
package enum BundleFingerprint {
    /// Bytes of a fingerprint.
    package static let length = 32

    /// Of the whole bundle: its trust domain and every authority.
    package static func of(_ bundle: SPIFFEBundle) -> [UInt8] {
        var items = bundle.x509Authorities.map { self.item("x509", "", $0) }
        items += bundle.jwtBundle.authorities.map {
            self.item("jwt", $0.key, $0.value.publicKeyDER)
        }
        items += bundle.witBundle.authorities.map {
            self.item("wit", $0.key, $0.value.publicKeyDER)
        }
        items.sort { $0.lexicographicallyPrecedes($1) }
        var hash = SHA256()
        hash.update(data: self.item("bundle", bundle.trustDomain.name, []))
        for item in items { hash.update(data: item) }
        return Array(hash.finalize())
    }

    /// Of one X.509 authority: of its certificate in DER.
    package static func of(x509Authority der: [UInt8]) -> [UInt8] {
        Array(SHA256.hash(data: der))
    }

    /// For people: lower-case hex in groups of four.
    package static func text(_ fingerprint: [UInt8]) -> String {
        let digits = Array(hex(fingerprint))
        return stride(from: 0, to: digits.count, by: 4)
            .map { String(digits[$0..<min($0 + 4, digits.count)]) }.joined(separator: " ")
    }

    /// Every part with its length before it, so that no two lists of parts give the same bytes.
    private static func item(_ kind: String, _ name: String, _ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        for part in [Array(kind.utf8), Array(name.utf8), bytes] {
            let count = UInt64(part.count)
            for shift in stride(from: UInt64(56), through: 0, by: -8) {
                result.append(UInt8(truncatingIfNeeded: count >> shift))
            }
            result += part
        }
        return result
    }
}
