import Crypto
import CryptoExtras
import SwiftASN1
import X509

/// What a certificate's extensions say, read once, with all that X509-SVID demands of a leaf and of a
/// signing certificate (§4, §5.2 and appendix A).
struct CertificateProfile {
    /// A critical extension is handled here when it is one of these; name constraints only on signers.
    static let handledExtensions: [ASN1ObjectIdentifier] = [
        .X509ExtensionID.basicConstraints, .X509ExtensionID.keyUsage,
        .X509ExtensionID.extendedKeyUsage, .X509ExtensionID.subjectAlternativeName,
        .X509ExtensionID.nameConstraints,
    ]

    private let certificate: Certificate
    private let basicConstraints: BasicConstraints?
    private let keyUsage: KeyUsage?
    private let extendedKeyUsage: ExtendedKeyUsage?
    private let alternativeNames: SubjectAlternativeNames?
    private let unhandled: ASN1ObjectIdentifier?
    let hasNameConstraints: Bool

    /// - Parameter der: The certificate's own encoding.
    init(_ certificate: Certificate, der: [UInt8]) throws(X509SVIDError) {
        guard certificate.version == .v3 else {
            throw X509SVIDError(.version, "certificate is not of X.509 version 3")
        }
        try CertificateProfile.checkKey(certificate.publicKey)
        try CertificateProfile.checkEnvelope(der)
        var basicConstraints: BasicConstraints?
        var keyUsage: KeyUsage?
        var extendedKeyUsage: ExtendedKeyUsage?
        var alternativeNames: SubjectAlternativeNames?
        var unhandled: ASN1ObjectIdentifier?
        var hasNameConstraints = false
        do {
            // Certificate has refused an extension that occurs twice.
            for one in certificate.extensions {
                switch one.oid {
                case .X509ExtensionID.basicConstraints: basicConstraints = try BasicConstraints(one)
                case .X509ExtensionID.keyUsage: keyUsage = try KeyUsage(one)
                case .X509ExtensionID.extendedKeyUsage: extendedKeyUsage = try ExtendedKeyUsage(one)
                case .X509ExtensionID.subjectAlternativeName:
                    alternativeNames = try SubjectAlternativeNames(one)
                case .X509ExtensionID.nameConstraints: hasNameConstraints = true
                default: if one.critical { unhandled = one.oid }
                }
            }
        } catch {
            throw X509SVIDError(
                .malformedCertificate, "certificate has an extension that cannot be read")
        }
        self.certificate = certificate
        self.basicConstraints = basicConstraints
        self.keyUsage = keyUsage
        self.extendedKeyUsage = extendedKeyUsage
        self.alternativeNames = alternativeNames
        self.unhandled = unhandled
        self.hasNameConstraints = hasNameConstraints
    }

    /// Checks the certificate as one that authenticates a workload.
    ///
    /// - Returns: Its SPIFFE ID.
    func checkLeaf() throws(X509SVIDError) -> SPIFFEID {
        let id = try self.leafID()
        func refuse(_ code: X509SVIDError.Code, _ reason: String) -> X509SVIDError {
            X509SVIDError(code, "X509-SVID of \(id) rejected: \(reason)")
        }
        if case .isCertificateAuthority = self.basicConstraints {
            throw refuse(
                .certificateAuthority, "it is a signing certificate, which authenticates nobody")
        }
        if id.hasEmptyPath {
            throw refuse(.noPath, "the SPIFFE ID of a workload has a path")
        }
        guard let keyUsage = self.keyUsage else {
            throw refuse(.keyUsage, "key usage is missing; expected digitalSignature")
        }
        if keyUsage.keyCertSign || keyUsage.cRLSign {
            throw refuse(.keyUsage, "keyCertSign and cRLSign are for signing certificates")
        }
        if !keyUsage.digitalSignature {
            throw refuse(.keyUsage, "key usage has no digitalSignature")
        }
        if let usages = self.extendedKeyUsage,
            !usages.contains(.serverAuth) || !usages.contains(.clientAuth)
        {
            throw refuse(
                .extendedKeyUsage,
                "extended key usage lacks serverAuth or clientAuth; expected both or none")
        }
        // Name constraints are for signing certificates only (RFC 5280 §4.2.1.10).
        if let unhandled = self.unhandled
            ?? (self.hasNameConstraints ? .X509ExtensionID.nameConstraints : nil)
        {
            throw refuse(.unhandledCriticalExtension, "extension \(unhandled) is not understood")
        }
        try CertificateProfile.checkSignatureAlgorithm(self.certificate)
        return id
    }

    /// The one URI among the alternative names, as a SPIFFE ID. The raw string is parsed: what is not in
    /// canonical form is refused, not mended.
    private func leafID() throws(X509SVIDError) -> SPIFFEID {
        var uri: String?
        for case .uniformResourceIdentifier(let text) in self.alternativeNames ?? .init() {
            if let first = uri {
                throw X509SVIDError(
                    .severalURINames,
                    "certificate has the URI names \(SPIFFEIDError.quoted(first)) and "
                        + "\(SPIFFEIDError.quoted(text)); expected exactly one")
            }
            uri = text
        }
        guard let uri else {
            throw X509SVIDError(
                .noURIName, "certificate has no URI name; expected exactly one SPIFFE ID")
        }
        do {
            return try SPIFFEID(uri)
        } catch {
            throw X509SVIDError(.invalidSPIFFEID, "certificate: \(error.message)")
        }
    }

    /// Checks the certificate as one that issues others. Its own SPIFFE ID, if it has one, is not looked
    /// at: authorities without one, and of other trust domains, are allowed (§3.2).
    ///
    /// - Returns: How many more signing certificates may follow below it, nil for any number.
    func checkSigner() throws(X509SVIDError) -> Int? {
        guard case .isCertificateAuthority(let maximum) = self.basicConstraints else {
            throw X509SVIDError(
                .notAnAuthority, "issuer \(self.subject) is no certificate authority (cA is false)")
        }
        if let keyUsage = self.keyUsage, !keyUsage.keyCertSign {
            throw X509SVIDError(
                .notAnAuthority, "issuer \(self.subject) may not sign certificates (keyCertSign)")
        }
        // A purpose on an issuer bounds what is below it, in most implementations and in this one.
        if let usages = self.extendedKeyUsage, !usages.contains(.any),
            !usages.contains(.serverAuth) || !usages.contains(.clientAuth)
        {
            throw X509SVIDError(
                .extendedKeyUsage,
                "issuer \(self.subject) is not for both serverAuth and clientAuth")
        }
        if let unhandled = self.unhandled {
            throw X509SVIDError(
                .unhandledCriticalExtension,
                "issuer \(self.subject) has critical extension \(unhandled)")
        }
        return maximum
    }

    private var subject: String {
        SPIFFEIDError.quoted(String(describing: self.certificate.subject))
    }

    private static func checkKey(_ key: Certificate.PublicKey) throws(X509SVIDError) {
        if let rsa = _RSA.Signing.PublicKey(key), !(2048...8192).contains(rsa.keySizeInBits) {
            throw X509SVIDError(
                .unsupportedKey,
                "certificate has an RSA key of \(rsa.keySizeInBits) bits; allowed are 2048 to 8192")
        }
    }

    /// Refuses SHA-1. Not asked of a root, whose own signature nobody relies on.
    static func checkSignatureAlgorithm(_ certificate: Certificate) throws(X509SVIDError) {
        switch certificate.signatureAlgorithm {
        case .ecdsaWithSHA256, .ecdsaWithSHA384, .ecdsaWithSHA512, .sha256WithRSAEncryption,
            .sha384WithRSAEncryption, .sha512WithRSAEncryption, .ed25519:
            return
        default:
            throw X509SVIDError(
                .unsupportedSignatureAlgorithm,
                "certificate is signed with \(certificate.signatureAlgorithm); expected SHA-256 or better"
            )
        }
    }

    /// Checks what no signature protects and the parser takes either way.
    ///
    /// `signature` inside the signed part equals `signatureAlgorithm` outside of it (RFC 5280 §4.1.1.2),
    /// and the signature is a whole number of bytes: a changed count of unused bits would make a second
    /// encoding of the same certificate.
    private static func checkEnvelope(_ der: [UInt8]) throws(X509SVIDError) {
        guard let signed = DERElement(der[...]).flatMap({ DERElement($0.content) }),
            let outer = DERElement(signed.rest), let version = DERElement(signed.content),
            let serial = DERElement(version.rest), let inner = DERElement(serial.rest),
            let signature = DERElement(outer.rest), signature.content.first == 0
        else {
            throw X509SVIDError(
                .malformedCertificate, "certificate has a signature of no whole number of bytes")
        }
        guard inner.encoded == outer.encoded else {
            throw X509SVIDError(
                .unsupportedSignatureAlgorithm,
                "certificate names one signature algorithm inside and another one outside")
        }
    }
}
