import Crypto
import SPIFFE
import SwiftASN1
import X509

/// What is the same in all leaves of one authority, encoded once: signing a leaf then costs its signature and little
/// more.
///
/// The result is byte for byte what swift-certificates would make of the same fields; a test compares them.
struct LeafTemplate: Sendable {
    private enum Tag {
        static let explicitExtensions: UInt8 = 0xA3
        /// `[1]`, `[2]` and `[6]` of GeneralName (RFC 5280 §4.2.1.6).
        static let dnsName: UInt8 = 0x82
        static let uri: UInt8 = 0x86
    }

    /// Version 3, with its explicit tag.
    private static let version: [UInt8] = [0xA0, 0x03, 0x02, 0x01, 0x02]
    private static let subjectKeyIdentifier: [UInt8] = [0x06, 0x03, 0x55, 0x1D, 0x0E]
    private static let subjectAlternativeName: [UInt8] = [0x06, 0x03, 0x55, 0x1D, 0x11]

    private let algorithm: [UInt8]
    private let issuer: [UInt8]
    private let subject: [UInt8]
    /// Key usage, extended key usage, basic constraints.
    private let firstExtensions: [UInt8]
    private let authorityKeyIdentifier: [UInt8]
    /// The extension that names the CRL; empty when there is none.
    private let crlDistributionPoints: [UInt8]

    /// - Parameters:
    ///   - subject: Of leaves that ask for no other.
    ///   - extensions: Those that come first and are the same in all leaves.
    init(
        authority: X509Authority, subject: DistinguishedName, extensions: [Certificate.Extension]
    ) throws {
        self.algorithm = try Self.algorithm(authority)
        self.issuer = try Self.der(authority.certificate.subject)
        self.subject = try Self.der(subject)
        self.firstExtensions = try extensions.flatMap { try Self.der($0) }
        self.authorityKeyIdentifier = try Self.der(
            Certificate.Extension(
                AuthorityKeyIdentifier(keyIdentifier: authority.subjectKeyIdentifier),
                critical: false))
        self.crlDistributionPoints =
            authority.crlDistributionPoint.map(CRLDistributionPoints.extension(uri:)) ?? []
    }

    /// The part of a leaf that is signed (RFC 5280 §4.1.2), in DER.
    ///
    /// - Parameter subject: Overrides the template's.
    func unsigned(
        _ leaf: X509Builder.Leaf, key: SubjectPublicKey, subject: DistinguishedName?
    ) throws -> [UInt8] {
        let subject = try subject.map { try Self.der($0) } ?? self.subject
        var writer = DERWriter(capacity: 1024)
        writer.sequence { writer in
            writer.wrap(Tag.explicitExtensions) { writer in
                writer.sequence { writer in self.extensions(leaf, key, &writer) }
            }
            writer.put(key.info)
            writer.put(subject)
            writer.sequence { writer in
                writer.time(leaf.notAfter)
                writer.time(leaf.notBefore)
            }
            writer.put(self.issuer)
            writer.put(self.algorithm)
            writer.integer(leaf.serial)
            writer.put(Self.version)
        }
        return writer.bytes
    }

    /// The certificate: what is signed, how, and the signature.
    func certificate(_ unsigned: [UInt8], signature: [UInt8]) -> [UInt8] {
        var writer = DERWriter(capacity: unsigned.count + signature.count + 64)
        writer.sequence { writer in
            writer.bitString(signature)
            writer.put(self.algorithm)
            writer.put(unsigned)
        }
        return writer.bytes
    }

    private func extensions(
        _ leaf: X509Builder.Leaf, _ key: SubjectPublicKey, _ writer: inout DERWriter
    ) {
        writer.put(self.crlDistributionPoints)
        writer.sequence { writer in
            writer.octetString { writer in
                writer.sequence { writer in
                    for name in leaf.dnsNames.reversed() {
                        writer.wrap(Tag.dnsName) { $0.put(Array(name.utf8)) }
                    }
                    writer.wrap(Tag.uri) { $0.put(Array(leaf.spiffeID.string.utf8)) }
                }
            }
            writer.put(Self.subjectAlternativeName)
        }
        writer.put(self.authorityKeyIdentifier)
        writer.sequence { writer in
            writer.octetString { writer in
                // RFC 5280 §4.2.1.2, method 1. An identifier, not a protection.
                writer.octetString { $0.put(Array(Insecure.SHA1.hash(data: key.bits))) }
            }
            writer.put(Self.subjectKeyIdentifier)
        }
        writer.put(self.firstExtensions)
    }

    /// Taken from a certificate that the authority itself signed: its own.
    private static func algorithm(_ authority: X509Authority) throws -> [UInt8] {
        guard case .constructed(let parts) = try DER.parse(authority.der).content,
            let algorithm = parts.dropFirst().first(where: { _ in true })
        else { throw ServerError(.internal, "authority certificate is malformed") }
        return Array(algorithm.encodedBytes)
    }

    private static func der(_ value: some DERSerializable) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(value)
        return serializer.serializedBytes
    }
}

/// A public key as it stands in a certificate.
struct SubjectPublicKey {
    /// Everything of a P-256 key's SubjectPublicKeyInfo before the point (RFC 5480 §2).
    private static let p256Prefix: [UInt8] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08,
        0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ]

    /// SubjectPublicKeyInfo, DER.
    let info: [UInt8]
    /// The content of its bit string.
    let bits: [UInt8]

    init(_ key: Certificate.PublicKey) throws {
        if let key = P256.Signing.PublicKey(key) {
            self.bits = Array(key.x963Representation)
            self.info = Self.p256Prefix + self.bits
            return
        }
        self.bits = Array(key.subjectPublicKeyInfoBytes)
        var serializer = DER.Serializer()
        try serializer.serialize(key)
        self.info = serializer.serializedBytes
    }
}
