import Crypto
import CryptoExtras
import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import SwiftASN1
import X509

/// An authority of one trust domain that issues X509-SVIDs for tests.
struct TestAuthority: Sendable {
    let trustDomain: TrustDomain
    let bundle: X509Bundle
    private let key: Certificate.PrivateKey
    private let certificate: Certificate

    init(_ name: String, constrainedTo permitted: String? = nil) throws {
        self.trustDomain = try TrustDomain(name)
        self.key = .init(P256.Signing.PrivateKey())
        let subject = try DistinguishedName { CommonName("authority of \(name)") }
        var extensions = [
            try Certificate.Extension(
                BasicConstraints.isCertificateAuthority(maxPathLength: nil), critical: true),
            try Certificate.Extension(KeyUsage(keyCertSign: true), critical: true),
        ]
        if let permitted {
            extensions.append(
                try Certificate.Extension(
                    NameConstraints(permittedURIDomains: [permitted]), critical: true))
        }
        self.certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: self.key.publicKey,
            notValidBefore: Date(timeIntervalSinceNow: -60),
            notValidAfter: Date(timeIntervalSinceNow: 3600),
            issuer: subject, subject: subject, extensions: Certificate.Extensions(extensions),
            issuerPrivateKey: self.key)
        self.bundle = try X509Bundle(
            trustDomain: self.trustDomain, authoritiesDER: [try Self.der(self.certificate)])
    }

    func issue(_ path: String, key: TestKey? = nil, expired: Bool = false) throws -> X509SVID {
        let key = key ?? TestKey(.init(P256.Signing.PrivateKey()))
        let id = try SPIFFEID(trustDomain: self.trustDomain, path: path)
        let leaf = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: key.key.publicKey,
            notValidBefore: Date(timeIntervalSinceNow: -60),
            notValidAfter: Date(timeIntervalSinceNow: expired ? -30 : 600),
            issuer: self.certificate.subject,
            subject: DistinguishedName(),
            extensions: Certificate.Extensions([
                try Certificate.Extension(BasicConstraints.notCertificateAuthority, critical: true),
                try Certificate.Extension(KeyUsage(digitalSignature: true), critical: true),
                try Certificate.Extension(
                    ExtendedKeyUsage([.serverAuth, .clientAuth]), critical: false),
                try Certificate.Extension(
                    SubjectAlternativeNames([.uniformResourceIdentifier(id.string)]), critical: true
                ),
            ]), issuerPrivateKey: self.key)
        return try X509SVID(
            certificates: [try Self.der(leaf)], privateKeyPKCS8DER: try key.pkcs8())
    }

    private static func der(_ certificate: Certificate) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}

/// A private key that can be written as PKCS#8, RSA included.
struct TestKey: Sendable {
    let key: Certificate.PrivateKey
    let pkcs8: @Sendable () throws -> [UInt8]

    init(_ key: Certificate.PrivateKey) {
        self.key = key
        self.pkcs8 = { try key.serializeAsPEM().derBytes }
    }

    init(_ key: _RSA.Signing.PrivateKey) {
        self.key = .init(key)
        self.pkcs8 = { Array(key.pkcs8DERRepresentation) }
    }
}

/// A source whose X509-SVID can be exchanged, or taken away.
final class RotatingSource: X509SVIDSource {
    private struct Gone: Error {}
    private let svid: NIOLockedValueBox<X509SVID?>

    init(_ svid: X509SVID?) { self.svid = NIOLockedValueBox(svid) }

    func set(_ svid: X509SVID?) { self.svid.withLockedValue { $0 = svid } }

    func x509SVID() throws -> X509SVID {
        guard let svid = self.svid.withLockedValue({ $0 }) else { throw Gone() }
        return svid
    }
}

/// Bundles that can be exchanged.
final class RotatingBundles: X509BundleSource {
    private let set: NIOLockedValueBox<X509BundleSet>

    init(_ bundles: [X509Bundle]) { self.set = NIOLockedValueBox(X509BundleSet(bundles)) }

    func replace(_ bundles: [X509Bundle]) {
        self.set.withLockedValue { $0 = X509BundleSet(bundles) }
    }

    func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        self.set.withLockedValue { $0.x509Bundle(for: trustDomain) }
    }
}
