import Crypto
import CryptoExtras
import Foundation
import SwiftASN1
import X509

/// What a certificate made for a test looks like; the defaults make a good X509-SVID leaf.
struct CertificateShape: Sendable {
    var version = Certificate.Version.v3
    var subject = "workload"
    var names: [GeneralName] = []
    var namesCritical = false
    /// nil leaves basic constraints out.
    var basicConstraints: BasicConstraints? = .notCertificateAuthority
    /// nil leaves key usage out.
    var keyUsage: KeyUsage? = KeyUsage(digitalSignature: true)
    /// nil leaves extended key usage out.
    var extendedKeyUsage: [ExtendedKeyUsage.Usage]? = [.serverAuth, .clientAuth]
    var extendedKeyUsageCritical = false
    var nameConstraints: NameConstraints?
    var extra: [Certificate.Extension] = []
    var notBefore = Date(timeIntervalSinceNow: -60)
    var notAfter = Date(timeIntervalSinceNow: 3600)
    var key: Certificate.PrivateKey?
    var signatureAlgorithm: Certificate.SignatureAlgorithm?

    static func leaf(_ id: String, _ change: (inout CertificateShape) -> Void = { _ in }) -> Self {
        var shape = CertificateShape()
        shape.names = [.uniformResourceIdentifier(id)]
        change(&shape)
        return shape
    }

    static func authority(
        _ subject: String, id: String? = nil, _ change: (inout CertificateShape) -> Void = { _ in }
    ) -> Self {
        var shape = CertificateShape()
        shape.subject = subject
        shape.names = id.map { [.uniformResourceIdentifier($0)] } ?? []
        shape.basicConstraints = .isCertificateAuthority(maxPathLength: nil)
        shape.keyUsage = KeyUsage(keyCertSign: true, cRLSign: true)
        shape.extendedKeyUsage = nil
        change(&shape)
        return shape
    }
}

/// A certificate with its key; can sign others.
struct TestCertificate: Sendable {
    let certificate: Certificate
    let der: [UInt8]
    let key: Certificate.PrivateKey

    /// - Parameter issuer: nil makes it self-signed.
    /// - Parameter issuerName: Overrides the issuer's subject.
    init(_ shape: CertificateShape, issuer: TestCertificate? = nil, issuerName: String? = nil)
        throws
    {
        let key = shape.key ?? Certificate.PrivateKey(P256.Signing.PrivateKey())
        let subject = try TestCertificate.name(shape.subject)
        var extensions: [Certificate.Extension] = []
        if shape.version == .v3 {
            if let constraints = shape.basicConstraints {
                extensions.append(try Certificate.Extension(constraints, critical: true))
            }
            if let usage = shape.keyUsage {
                extensions.append(try Certificate.Extension(usage, critical: true))
            }
            if let usages = shape.extendedKeyUsage {
                extensions.append(
                    try Certificate.Extension(
                        ExtendedKeyUsage(usages), critical: shape.extendedKeyUsageCritical))
            }
            if !shape.names.isEmpty {
                extensions.append(
                    try Certificate.Extension(
                        SubjectAlternativeNames(shape.names), critical: shape.namesCritical))
            }
            if let constraints = shape.nameConstraints {
                extensions.append(try Certificate.Extension(constraints, critical: true))
            }
            extensions.append(
                try Certificate.Extension(
                    SubjectKeyIdentifier(hash: key.publicKey), critical: false))
            if let issuer {
                let identifier = SubjectKeyIdentifier(hash: issuer.key.publicKey).keyIdentifier
                extensions.append(
                    try Certificate.Extension(
                        AuthorityKeyIdentifier(keyIdentifier: identifier), critical: false))
            }
            extensions += shape.extra
        }
        let signer = issuer?.key ?? key
        let name =
            try issuerName.map(TestCertificate.name) ?? issuer?.certificate.subject ?? subject
        let algorithm = shape.signatureAlgorithm
        if let algorithm {
            self.certificate = try Certificate(
                version: shape.version, serialNumber: .init(), publicKey: key.publicKey,
                notValidBefore: shape.notBefore, notValidAfter: shape.notAfter, issuer: name,
                subject: subject, signatureAlgorithm: algorithm,
                extensions: Certificate.Extensions(extensions), issuerPrivateKey: signer)
        } else {
            self.certificate = try Certificate(
                version: shape.version, serialNumber: .init(), publicKey: key.publicKey,
                notValidBefore: shape.notBefore, notValidAfter: shape.notAfter, issuer: name,
                subject: subject, extensions: Certificate.Extensions(extensions),
                issuerPrivateKey: signer)
        }
        var serializer = DER.Serializer()
        try serializer.serialize(self.certificate)
        self.der = serializer.serializedBytes
        self.key = key
    }

    private static func name(_ text: String) throws -> DistinguishedName {
        text.isEmpty ? DistinguishedName() : try DistinguishedName { CommonName(text) }
    }

    /// The private key as PKCS#8.
    var pkcs8: [UInt8] {
        get throws { try self.key.serializeAsPEM().derBytes }
    }
}
