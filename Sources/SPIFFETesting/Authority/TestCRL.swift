import Crypto
import CryptoExtras
import Foundation
import SPIFFE
import SwiftASN1
import X509

extension TestIssuer {
    /// A CRL (RFC 5280 §5) that this authority signs; reasons by serial number.
    func certificateRevocationList(
        _ certificates: [[UInt8]: Int], number: UInt64, thisUpdate: Date, nextUpdate: Date
    ) throws -> [UInt8] {
        let algorithm = try Self.algorithm(self.key.publicKey)
        var name = DER.Serializer()
        try name.serialize(self.name)
        let entries = certificates.sorted { $0.key.lexicographicallyPrecedes($1.key) }
            .map { Self.entry($0.key, reason: $0.value, thisUpdate) }
        let identifier = Array(SubjectKeyIdentifier(hash: self.key.publicKey).keyIdentifier)
        let extensions = [
            Self.extension([0x55, 0x1D, 0x23], Self.element(0x30, Self.element(0x80, identifier))),
            Self.extension([0x55, 0x1D, 0x14], Self.integer(Self.bytes(number))),
        ]
        let signed = Self.element(
            0x30,
            Self.integer([1]) + algorithm.identifier + name.serializedBytes
                + Self.time(thisUpdate) + Self.time(nextUpdate)
                + (entries.isEmpty ? [] : Self.element(0x30, Array(entries.joined())))
                + Self.element(0xA0, Self.element(0x30, Array(extensions.joined()))))
        let signature = try self.key.sign(bytes: signed, signatureAlgorithm: algorithm.x509)
        return Self.element(
            0x30,
            signed + algorithm.identifier + Self.element(0x03, [0] + signature.rawRepresentation))
    }

    private static func entry(_ serial: [UInt8], reason: Int, _ date: Date) -> [UInt8] {
        var fields = self.integer(serial) + self.time(date)
        if let reason = UInt8(exactly: reason), reason > 0 {
            fields += self.element(
                0x30, self.extension([0x55, 0x1D, 0x15], self.element(0x0A, [reason])))
        }
        return self.element(0x30, fields)
    }

    /// The algorithm that fits the key, and its identifier in DER.
    private static func algorithm(
        _ key: Certificate.PublicKey
    ) throws -> (x509: Certificate.SignatureAlgorithm, identifier: [UInt8]) {
        let ecdsa: [UInt8] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03]
        if P256.Signing.PublicKey(key) != nil {
            return (.ecdsaWithSHA256, self.element(0x30, ecdsa + [2]))
        }
        if P384.Signing.PublicKey(key) != nil {
            return (.ecdsaWithSHA384, self.element(0x30, ecdsa + [3]))
        }
        if P521.Signing.PublicKey(key) != nil {
            return (.ecdsaWithSHA512, self.element(0x30, ecdsa + [4]))
        }
        if _RSA.Signing.PublicKey(key) != nil {
            let rsa: [UInt8] = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 11]
            return (.sha256WithRSAEncryption, self.element(0x30, rsa + [5, 0]))
        }
        return (.ed25519, self.element(0x30, [0x06, 0x03, 0x2B, 0x65, 0x70]))
    }

    // MARK: DER

    private static func `extension`(_ oid: [UInt8], _ value: [UInt8]) -> [UInt8] {
        self.element(0x30, self.element(0x06, oid) + self.element(0x04, value))
    }

    private static func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        let length = self.bytes(UInt64(content.count))
        let header = content.count < 0x80 ? [length[0]] : [0x80 | UInt8(length.count)] + length
        return [tag] + header + content
    }

    /// - Parameter magnitude: Big-endian.
    private static func integer(_ magnitude: [UInt8]) -> [UInt8] {
        let digits = Array(magnitude.drop { $0 == 0 })
        let needsZero = digits.first.map { $0 >= 0x80 } ?? true
        return self.element(0x02, (needsZero ? [0] : []) + digits)
    }

    /// Big-endian, without zeros in front; at least one byte.
    private static func bytes(_ number: UInt64) -> [UInt8] {
        let all = (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) }
        return Array(all.drop { $0 == 0 }).isEmpty ? [0] : Array(all.drop { $0 == 0 })
    }

    /// UTCTime until 2049, as RFC 5280 §5.1.2.4 asks.
    private static func time(_ date: Date) -> [UInt8] {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        let parts = calendar.dateComponents(
            [.year, .month, .day, .hour, .minute, .second], from: date)
        func digits(_ value: Int?, _ count: Int) -> String {
            let text = String(value ?? 0)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        let rest = [parts.month, parts.day, parts.hour, parts.minute, parts.second]
            .map { digits($0, 2) }.joined()
        let year = parts.year ?? 1970
        if (1950..<2050).contains(year) {
            return self.element(0x17, Array("\(digits(year % 100, 2))\(rest)Z".utf8))
        }
        return self.element(0x18, Array("\(digits(year, 4))\(rest)Z".utf8))
    }
}

/// A zlib stream that holds its bytes as they are (RFC 1950, RFC 1951 §3.2.4).
enum StoredZlib {
    static func base64URL(_ bytes: [UInt8]) -> String {
        var stream: [UInt8] = [0x78, 0x01]
        var rest = bytes[...]
        repeat {
            let block = rest.prefix(0xFFFF)
            rest = rest.dropFirst(0xFFFF)
            let length = UInt16(block.count)
            stream.append(rest.isEmpty ? 1 : 0)
            for value in [length, ~length] {
                stream += [UInt8(value & 0xFF), UInt8(value >> 8)]
            }
            stream += block
        } while !rest.isEmpty
        var low: UInt32 = 1
        var high: UInt32 = 0
        for byte in bytes {
            low = (low + UInt32(byte)) % 65_521
            high = (high + low) % 65_521
        }
        let checksum = high << 16 | low
        stream += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: checksum >> $0) }
        return Base64URL.encode(stream)
    }
}
