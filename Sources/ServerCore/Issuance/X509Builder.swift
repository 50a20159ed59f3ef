import Foundation
import NIOConcurrencyHelpers
import PluginAPI
package import SPIFFE
import SwiftASN1
package import X509

/// The name that stands in certificates' subjects.
package struct X509Subject: Sendable, Hashable {
    package var country: [String]
    package var organization: [String]
    package var commonName: String

    package init(country: [String], organization: [String], commonName: String = "") {
        self.country = country
        self.organization = organization
        self.commonName = commonName
    }

    /// The subject of authorities when nothing else is configured.
    package static let authority = X509Subject(country: ["US"], organization: ["SPIFFE"])
    /// The subject of SVIDs.
    package static let svid = X509Subject(country: ["US"], organization: ["SPIRE"])
}

/// Builds certificates in the shape that X509-SVID asks for. Signs, but neither decides nor records.
package struct X509Builder: Sendable {
    /// What goes into one leaf.
    package struct Leaf: Sendable {
        package let spiffeID: SPIFFEID
        package let publicKey: Certificate.PublicKey
        package var dnsNames: [String] = []
        /// Unix seconds, both inclusive.
        package let notBefore: Int64
        package let notAfter: Int64
        package let serial: [UInt8]
        /// Overrides the usual subject; a common name taken from the DNS names still wins.
        package var subject: DistinguishedName?

        package init(
            spiffeID: SPIFFEID, publicKey: Certificate.PublicKey, dnsNames: [String] = [],
            notBefore: Int64, notAfter: Int64, serial: [UInt8], subject: DistinguishedName? = nil
        ) {
            self.spiffeID = spiffeID
            self.publicKey = publicKey
            self.dnsNames = dnsNames
            self.notBefore = notBefore
            self.notAfter = notAfter
            self.serial = serial
            self.subject = subject
        }
    }

    private let leafExtensions: [Certificate.Extension]
    private let leafSubject: DistinguishedName
    /// The template of the authority that signed last.
    private let known = NIOLockedValueBox<Known?>(nil)

    private struct Known {
        let authority: [UInt8]
        let crlDistributionPoint: String?
        let template: LeafTemplate
    }

    package init() throws {
        self.leafExtensions = [
            try Certificate.Extension(
                KeyUsage(digitalSignature: true, keyEncipherment: true, keyAgreement: true),
                critical: true),
            try Certificate.Extension(
                ExtendedKeyUsage([.serverAuth, .clientAuth]), critical: false),
            try Certificate.Extension(BasicConstraints.notCertificateAuthority, critical: true),
        ]
        self.leafSubject = try Self.name(.svid, serialNumber: nil)
    }

    /// Signs a leaf (X509-SVID §2, §4): not a CA, digitalSignature with keyEncipherment and keyAgreement, both
    /// extended key usages, one URI SAN.
    ///
    /// - Returns: The certificate in DER.
    package func sign(_ leaf: Leaf, by authority: X509Authority) throws -> [UInt8] {
        try self.signWithKeyInfo(leaf, by: authority).certificate
    }

    /// As ``sign(_:by:)``.
    ///
    /// - Returns: The certificate and the SubjectPublicKeyInfo in it, DER.
    func signWithKeyInfo(
        _ leaf: Leaf, by authority: X509Authority
    ) throws -> (certificate: [UInt8], keyInfo: [UInt8]) {
        let template = try self.template(authority)
        let key = try SubjectPublicKey(leaf.publicKey)
        let unsigned = try template.unsigned(leaf, key: key, subject: try self.subject(of: leaf))
        let signature = try authority.key.privateKey.sign(
            bytes: unsigned, signatureAlgorithm: authority.signatureAlgorithm)
        return (
            template.certificate(unsigned, signature: signature.rawRepresentation), key.info
        )
    }

    private func template(_ authority: X509Authority) throws -> LeafTemplate {
        if let known = self.known.withLockedValue({ $0 }), known.authority == authority.der,
            known.crlDistributionPoint == authority.crlDistributionPoint
        {
            return known.template
        }
        let template = try LeafTemplate(
            authority: authority, subject: self.leafSubject, extensions: self.leafExtensions)
        self.known.withLockedValue {
            $0 = Known(
                authority: authority.der, crlDistributionPoint: authority.crlDistributionPoint,
                template: template)
        }
        return template
    }

    /// A self-signed authority certificate (X509-SVID §3.2, §4): the SPIFFE ID is the trust domain's own.
    package static func selfSignedAuthority(
        trustDomain: TrustDomain, subject: X509Subject, key: Certificate.PrivateKey,
        algorithm: Certificate.SignatureAlgorithm, notBefore: Int64, notAfter: Int64,
        serial: [UInt8]
    ) throws -> Certificate {
        let hex = serial.map { byte in
            let text = String(byte, radix: 16)
            return byte < 16 ? "0" + text : text
        }.joined()
        let name = try self.name(subject, serialNumber: hex)
        return try Certificate(
            version: .v3,
            serialNumber: Certificate.SerialNumber(bytes: serial),
            publicKey: key.publicKey,
            notValidBefore: Date(timeIntervalSince1970: TimeInterval(notBefore)),
            notValidAfter: Date(timeIntervalSince1970: TimeInterval(notAfter)),
            issuer: name,
            subject: name,
            signatureAlgorithm: algorithm,
            extensions: try Certificate.Extensions([
                try Certificate.Extension(
                    BasicConstraints.isCertificateAuthority(maxPathLength: nil), critical: true),
                try Certificate.Extension(
                    KeyUsage(keyCertSign: true, cRLSign: true), critical: true),
                try Certificate.Extension(
                    SubjectKeyIdentifier(hash: key.publicKey), critical: false),
                try Certificate.Extension(
                    SubjectAlternativeNames([.uniformResourceIdentifier(trustDomain.id.string)]),
                    critical: false),
            ]),
            issuerPrivateKey: key)
    }

    /// Nil means the usual one.
    private func subject(of leaf: Leaf) throws -> DistinguishedName? {
        // Never an empty subject: with one the alternative names would have to be critical.
        let wanted = leaf.subject.flatMap { $0.isEmpty ? nil : $0 }
        guard let commonName = leaf.dnsNames.first else { return wanted }
        if let subject = wanted {
            var parts = subject.filter { relative in
                !relative.contains { $0.type == .RDNAttributeType.commonName }
            }
            parts.append(
                RelativeDistinguishedName(
                    RelativeDistinguishedName.Attribute(
                        type: .RDNAttributeType.commonName, utf8String: commonName)))
            return DistinguishedName(parts)
        }
        var named = X509Subject.svid
        named.commonName = commonName
        return try Self.name(named, serialNumber: nil)
    }

    private static func name(
        _ subject: X509Subject, serialNumber: String?
    ) throws -> DistinguishedName {
        var parts: [RelativeDistinguishedName] = []
        for country in subject.country {
            parts.append(
                RelativeDistinguishedName(
                    try .init(type: .RDNAttributeType.countryName, printableString: country)))
        }
        for organization in subject.organization {
            parts.append(
                RelativeDistinguishedName(
                    .init(type: .RDNAttributeType.organizationName, utf8String: organization)))
        }
        if !subject.commonName.isEmpty {
            parts.append(
                RelativeDistinguishedName(
                    .init(type: .RDNAttributeType.commonName, utf8String: subject.commonName)))
        }
        if let serialNumber {
            parts.append(
                RelativeDistinguishedName(
                    try .init(type: [2, 5, 4, 5], printableString: serialNumber)))
        }
        return DistinguishedName(parts)
    }
}

/// Serial numbers of certificates.
package enum SerialNumbers {
    /// A new serial: 16 random bytes, positive and without leading zero.
    package static func random() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        let high = generator.next()
        let low = generator.next()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16)
        for word in [high, low] {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        bytes[0] = (bytes[0] & 0x3F) | 0x40
        return bytes
    }
}

/// Lower-case hex of bytes.
package func hex(_ bytes: some Sequence<UInt8>) -> String {
    let digits: StaticString = "0123456789abcdef"
    var result: [UInt8] = []
    for byte in bytes {
        result.append(digits.utf8Start[Int(byte >> 4)])
        result.append(digits.utf8Start[Int(byte & 15)])
    }
    return String(decoding: result, as: UTF8.self)
}
