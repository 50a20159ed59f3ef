import PluginAPI
import SwiftASN1
import X509

/// Makes the CRL of one X.509 authority: a v2 CertificateList (RFC 5280 §5), complete, signed by that authority itself.
///
/// The issuer is the authority's subject, byte for byte as in its certificate, and the authority key identifier is its
/// subject key identifier, so that a verifier finds the right list even where several authorities have one name.
package struct CRLBuilder: Sendable {
    private enum Tag {
        static let explicitExtensions: UInt8 = 0xA0
        /// `keyIdentifier` of AuthorityKeyIdentifier.
        static let keyIdentifier: UInt8 = 0x80
    }

    private static let crlNumber: [UInt8] = [0x06, 0x03, 0x55, 0x1D, 0x14]
    private static let authorityKeyIdentifier: [UInt8] = [0x06, 0x03, 0x55, 0x1D, 0x23]

    /// The authority whose certificates are listed and who signs.
    package let authority: X509Authority
    private let issuer: [UInt8]
    private let algorithm: [UInt8]
    private let authorityKey: [UInt8]
    private var entries = CRLEntries()

    /// - Throws: ``ServerError`` `internal` when the authority's certificate is malformed.
    package init(authority: X509Authority) throws(ServerError) {
        guard let parts = Self.parts(authority.der) else {
            throw ServerError(
                .internal, "certificate of X.509 authority \(authority.id) is malformed")
        }
        self.authority = authority
        self.issuer = parts.subject
        self.algorithm = parts.algorithm
        var writer = DERWriter(capacity: 64)
        writer.sequence { writer in
            writer.octetString { writer in
                writer.sequence { writer in
                    writer.wrap(Tag.keyIdentifier) { $0.put(authority.subjectKeyIdentifier) }
                }
            }
            writer.put(Self.authorityKeyIdentifier)
        }
        self.authorityKey = writer.bytes
    }

    /// How many certificates are listed.
    package var count: Int { self.entries.count }

    /// Lists these certificates and no others.
    ///
    /// - Returns: whether the list has changed.
    package mutating func update(_ certificates: [RevokedCertificate]) -> Bool {
        self.entries.replace(with: certificates)
    }

    /// The signed list.
    ///
    /// - Parameters:
    ///   - number: CRLNumber; larger than that of every earlier list of the authority.
    ///   - thisUpdate: Unix seconds.
    ///   - nextUpdate: Unix seconds; when there will be another one at the latest.
    /// - Returns: CertificateList, DER.
    /// - Throws: whatever the key throws when it cannot sign.
    package func sign(number: UInt64, thisUpdate: Int64, nextUpdate: Int64) async throws -> [UInt8]
    {
        let unsigned = self.unsigned(
            number: number, thisUpdate: thisUpdate, nextUpdate: nextUpdate)
        let signature = try await self.authority.key.privateKey.signAsynchronously(
            bytes: unsigned, signatureAlgorithm: self.authority.signatureAlgorithm)
        return self.certificateList(unsigned, signature: signature.rawRepresentation)
    }

    /// What is signed, how, and the signature: CertificateList, DER.
    package func certificateList(_ unsigned: [UInt8], signature: [UInt8]) -> [UInt8] {
        var writer = DERWriter(capacity: signature.count + 64)
        writer.bitString(signature)
        writer.put(self.algorithm)
        return DERWriter.sequence(of: [unsigned, writer.bytes])
    }

    /// `tbsCertList` (RFC 5280 §5.1.2), DER.
    package func unsigned(number: UInt64, thisUpdate: Int64, nextUpdate: Int64) -> [UInt8] {
        let entries = self.entries.encoded
        var head = DERWriter(capacity: 512)
        // An empty list is left out altogether (RFC 5280 §5.1.2.6).
        if !entries.isEmpty { head.sequenceHeader(length: entries.count) }
        head.time(nextUpdate)
        head.time(thisUpdate)
        head.put(self.issuer)
        head.put(self.algorithm)
        // v2
        head.integer([1])
        var tail = DERWriter(capacity: 128)
        tail.wrap(Tag.explicitExtensions) { writer in
            writer.sequence { writer in
                writer.sequence { writer in
                    writer.octetString { $0.integer(Self.bytes(number)) }
                    writer.put(Self.crlNumber)
                }
                writer.put(self.authorityKey)
            }
        }
        return DERWriter.sequence(of: [head.bytes, entries, tail.bytes])
    }

    private static func bytes(_ number: UInt64) -> [UInt8] {
        stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> UInt64($0)) }
    }

    /// The subject of a v3 certificate, and the algorithm that it was signed with. An authority signs everything with
    /// the one algorithm, its own certificate too.
    private static func parts(_ der: [UInt8]) -> (subject: [UInt8], algorithm: [UInt8])? {
        guard let certificate = try? DER.parse(der),
            case .constructed(let outer) = certificate.content
        else { return nil }
        let outside = Array(outer)
        guard outside.count == 3, case .constructed(let inner) = outside[0].content else {
            return nil
        }
        // version, serialNumber, signature, issuer, validity, subject
        let inside = Array(inner.prefix(6))
        guard inside.count == 6 else { return nil }
        return (Array(inside[5].encodedBytes), Array(outside[1].encodedBytes))
    }
}
