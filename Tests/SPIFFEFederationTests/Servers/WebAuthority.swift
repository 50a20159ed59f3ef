import Crypto
import Foundation
import NIOSSL
import SPIFFE
import SPIFFETesting
import SwiftASN1
import X509

/// What a server shows in a handshake.
struct ServerCertificate: Sendable {
    let chain: [NIOSSLCertificate]
    let key: NIOSSLPrivateKey

    /// An X509-SVID.
    init(_ authority: TestAuthority, _ path: String, notAfter: Date? = nil) throws {
        let svid = try authority.x509SVID(path, notAfter: notAfter)
        self.chain = try svid.certificateChainDER.map {
            try NIOSSLCertificate(bytes: $0, format: .der)
        }
        self.key = try NIOSSLPrivateKey(bytes: svid.privateKeyDER, format: .der)
    }

    fileprivate init(certificate: Certificate, key: P256.Signing.PrivateKey) throws {
        self.chain = [try NIOSSLCertificate(bytes: try certificate.der, format: .der)]
        self.key = try NIOSSLPrivateKey(bytes: Array(key.derRepresentation), format: .der)
    }
}

/// An authority as those of the Web PKI: certificates for names and addresses, without SPIFFE IDs.
struct WebAuthority: Sendable {
    private let key = P256.Signing.PrivateKey()
    private let name: DistinguishedName
    /// To be trusted by clients.
    let rootDER: [UInt8]

    init() throws {
        let name = try DistinguishedName {
            CommonName("web authority \(UInt64.random(in: 0 ... .max))")
        }
        self.name = name
        let key = Certificate.PrivateKey(self.key)
        self.rootDER = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: key.publicKey,
            notValidBefore: Date() - 86_400, notValidAfter: Date() + 86_400, issuer: name,
            subject: name,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: key.publicKey)
            }, issuerPrivateKey: key
        ).der
    }

    /// A certificate for the names and IPv4 addresses.
    func certificate(
        names: [String] = [], addresses: [[UInt8]] = [], notAfter: Date = Date() + 3600
    ) throws -> ServerCertificate {
        let key = P256.Signing.PrivateKey()
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey),
            notValidBefore: Date() - 7200, notValidAfter: notAfter, issuer: self.name,
            subject: try DistinguishedName { CommonName("a bundle endpoint") },
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(
                    names.map { .dnsName($0) }
                        + addresses.map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) })
            }, issuerPrivateKey: .init(self.key))
        return try ServerCertificate(certificate: certificate, key: key)
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
