import Foundation
import SPIFFE
import SwiftASN1
import X509

/// A signing certificate with its key: a root or one below it.
struct TestIssuer: Sendable {
    let name: DistinguishedName
    private let trustDomain: TrustDomain
    let key: Certificate.PrivateKey

    /// A self-signed authority and its certificate.
    static func root(
        _ commonName: String, _ trustDomain: TrustDomain, _ key: Certificate.PrivateKey,
        permittedURIDomains: [String]
    ) throws -> (certificate: [UInt8], issuer: TestIssuer) {
        let name = try DistinguishedName {
            OrganizationName("SPIFFE")
            CommonName(commonName)
        }
        let issuer = TestIssuer(name: name, trustDomain: trustDomain, key: key)
        var extensions = try issuer.signerExtensions(key.publicKey)
        if !permittedURIDomains.isEmpty {
            try extensions.append(
                Certificate.Extension(
                    NameConstraints(permittedURIDomains: permittedURIDomains), critical: true))
        }
        let certificate = try issuer.sign(
            name, key.publicKey, notBefore: Date() - 3600, notAfter: Date() + 86_400, extensions)
        return (certificate, issuer)
    }

    /// A signing certificate that this one signs, and the issuer that it makes.
    func intermediate(_ commonName: String) throws -> (certificate: [UInt8], issuer: TestIssuer) {
        let name = try DistinguishedName {
            OrganizationName("SPIFFE")
            CommonName("\(commonName) of \(self.trustDomain)")
        }
        let key = try TestKeyType.ecP256.makeKey().key
        let certificate = try self.sign(
            name, key.publicKey, notBefore: Date() - 3600, notAfter: Date() + 86_400,
            try self.signerExtensions(key.publicKey))
        return (certificate, TestIssuer(name: name, trustDomain: self.trustDomain, key: key))
    }

    /// A leaf. Its subject is empty, so the SPIFFE ID is critical (RFC 5280 §4.2.1.6).
    func leaf(
        _ id: SPIFFEID, _ publicKey: Certificate.PublicKey, notBefore: Date, notAfter: Date,
        dnsNames: [String]
    ) throws -> [UInt8] {
        let names =
            [GeneralName.uniformResourceIdentifier(id.string)] + dnsNames.map(GeneralName.dnsName)
        return try self.sign(
            DistinguishedName(), publicKey, notBefore: notBefore, notAfter: notAfter,
            [
                try Certificate.Extension(BasicConstraints.notCertificateAuthority, critical: true),
                try Certificate.Extension(KeyUsage(digitalSignature: true), critical: true),
                try Certificate.Extension(
                    ExtendedKeyUsage([.serverAuth, .clientAuth]), critical: false),
                try Certificate.Extension(SubjectAlternativeNames(names), critical: true),
                try Certificate.Extension(SubjectKeyIdentifier(hash: publicKey), critical: false),
            ])
    }

    private func signerExtensions(
        _ publicKey: Certificate.PublicKey
    ) throws -> [Certificate.Extension] {
        [
            try Certificate.Extension(
                BasicConstraints.isCertificateAuthority(maxPathLength: nil), critical: true),
            try Certificate.Extension(KeyUsage(keyCertSign: true, cRLSign: true), critical: true),
            try Certificate.Extension(
                SubjectAlternativeNames([
                    .uniformResourceIdentifier(self.trustDomain.id.string)
                ]), critical: false),
            try Certificate.Extension(SubjectKeyIdentifier(hash: publicKey), critical: false),
        ]
    }

    private func sign(
        _ subject: DistinguishedName, _ publicKey: Certificate.PublicKey, notBefore: Date,
        notAfter: Date, _ extensions: [Certificate.Extension]
    ) throws -> [UInt8] {
        let identifier = SubjectKeyIdentifier(hash: self.key.publicKey).keyIdentifier
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: publicKey, notValidBefore: notBefore,
            notValidAfter: notAfter, issuer: self.name, subject: subject,
            extensions: try Certificate.Extensions(
                extensions + [
                    try Certificate.Extension(
                        AuthorityKeyIdentifier(keyIdentifier: identifier), critical: false)
                ]), issuerPrivateKey: self.key)
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}
