package import PluginAPI
package import SPIFFE
package import X509

/// An X.509 authority that can sign.
package struct X509Authority: Sendable {
    /// Subject key ID, lower-case hex.
    package let id: String
    package let certificate: Certificate
    package let der: [UInt8]
    package let key: ManagedKey
    package let subjectKeyIdentifier: ArraySlice<UInt8>
    package let signatureAlgorithm: Certificate.SignatureAlgorithm
    /// Unix seconds.
    package let notAfter: Int64
    /// Where its CRL is, for the certificates that it signs; nil leaves the extension out.
    package var crlDistributionPoint: String?

    package init(
        id: String, certificate: Certificate, der: [UInt8], key: ManagedKey,
        subjectKeyIdentifier: ArraySlice<UInt8>,
        signatureAlgorithm: Certificate.SignatureAlgorithm, notAfter: Int64,
        crlDistributionPoint: String? = nil
    ) {
        self.id = id
        self.certificate = certificate
        self.der = der
        self.key = key
        self.subjectKeyIdentifier = subjectKeyIdentifier
        self.signatureAlgorithm = signatureAlgorithm
        self.notAfter = notAfter
        self.crlDistributionPoint = crlDistributionPoint
    }
}

/// A JWT authority that can sign.
package struct JWTAuthority: Sendable {
    /// The key ID that stands in the tokens' `kid`.
    package let id: String
    package let signer: JWSSigner
    /// Unix seconds.
    package let notAfter: Int64
}

/// A WIT authority that can sign.
package struct WITAuthority: Sendable {
    /// The key ID that stands in the tokens' `kid`.
    package let id: String
    package let signer: JWSSigner
    /// Unix seconds.
    package let notAfter: Int64
}

extension KeyType {
    /// The algorithm that certificates are signed with under a key of this type.
    package var signatureAlgorithm: Certificate.SignatureAlgorithm {
        switch self {
        case .ecP256: .ecdsaWithSHA256
        case .ecP384: .ecdsaWithSHA384
        case .rsa2048, .rsa4096: .sha256WithRSAEncryption
        case .ed25519: .ed25519
        }
    }
}
