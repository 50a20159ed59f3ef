import Crypto
package import Foundation
import SwiftASN1
import X509

/// An authority as those of the Web PKI: certificates for names and addresses, without SPIFFE IDs.
package struct WebAuthority: Sendable {
    private let key = P256.Signing.PrivateKey()
    private let name: DistinguishedName
    /// The root, to be trusted by clients.
    package let rootDER: [UInt8]
    package let rootPEM: [UInt8]

    package init() throws {
        let name = try DistinguishedName {
            CommonName("web authority \(UInt64.random(in: 0 ... .max))")
        }
        self.name = name
        let key = Certificate.PrivateKey(self.key)
        let root = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: key.publicKey,
            notValidBefore: Date() - 86_400, notValidAfter: Date() + 86_400, issuer: name,
            subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: key.publicKey)
            }, issuerPrivateKey: key)
        self.rootDER = try root.der
        self.rootPEM = Array(try root.serializeAsPEM().pemString.utf8)
    }

    /// A certificate for the names and IPv4 addresses.
    package func certificate(
        names: [String] = [], addresses: [[UInt8]] = [], notAfter: Date = Date() + 3600
    ) throws -> ServerCertificate {
        let key = P256.Signing.PrivateKey()
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey),
            notValidBefore: Date() - 7200, notValidAfter: notAfter, issuer: self.name,
            subject: try DistinguishedName { CommonName("a bundle endpoint") },
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(
                    names.map { .dnsName($0) }
                        + addresses.map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) })
            }, issuerPrivateKey: .init(self.key))
        return ServerCertificate(
            chain: [try certificate.der], keyDER: Array(key.derRepresentation))
    }
}

extension Certificate {
    fileprivate var der: [UInt8] {
        get throws {
            var serializer = DER.Serializer()
            try serializer.serialize(self)
            return serializer.serializedBytes
        }
    }
}
