import SwiftASN1

/// A CertificateList, taken apart by its structure alone (RFC 5280 §5.1).
struct ReadCRL {
    struct Unexpected: Error {}

    /// `tbsCertList`, DER.
    let unsigned: [UInt8]
    let signature: [UInt8]
    /// Name, DER.
    let issuer: [UInt8]
    /// The serial numbers in their order, without sign byte.
    let serials: [[UInt8]]
    /// The content of CRLNumber, without sign byte.
    let number: [UInt8]
    let authorityKeyIdentifier: [UInt8]

    init(_ der: [UInt8]) throws {
        let outer = try Self.parts(try DER.parse(der))
        guard outer.count == 3, case .primitive(let bits) = outer[2].content else {
            throw Unexpected()
        }
        self.unsigned = Array(outer[0].encodedBytes)
        self.signature = Array(bits.dropFirst())
        // version, signature, issuer, thisUpdate, nextUpdate, [revokedCertificates], extensions
        let inner = try Self.parts(outer[0])
        guard inner.count == 6 || inner.count == 7 else { throw Unexpected() }
        self.issuer = Array(inner[2].encodedBytes)
        let entries = inner.count == 7 ? try Self.parts(inner[5]) : []
        self.serials = try entries.map { entry in
            guard let serial = try Self.parts(entry).first else { throw Unexpected() }
            return try Self.integer(serial)
        }
        guard let last = inner.last, let list = try Self.parts(last).first else {
            throw Unexpected()
        }
        let extensions = try Self.parts(list)
        guard extensions.count == 2 else { throw Unexpected() }
        let key = try DER.parse(try Self.value(extensions[0]))
        guard case .primitive(let identifier)? = try Self.parts(key).first?.content else {
            throw Unexpected()
        }
        self.authorityKeyIdentifier = Array(identifier)
        self.number = try Self.integer(try DER.parse(try Self.value(extensions[1])))
    }

    private static func parts(_ node: ASN1Node) throws -> [ASN1Node] {
        guard case .constructed(let parts) = node.content else { throw Unexpected() }
        return Array(parts)
    }

    /// The content of an extension's octet string.
    private static func value(_ node: ASN1Node) throws -> [UInt8] {
        guard case .primitive(let bytes)? = try self.parts(node).last?.content else {
            throw Unexpected()
        }
        return Array(bytes)
    }

    private static func integer(_ node: ASN1Node) throws -> [UInt8] {
        guard case .primitive(let bytes) = node.content else { throw Unexpected() }
        return Array(bytes.drop { $0 == 0 })
    }
}
