/// Why an X509-SVID, its key, or a peer's chain was refused.
///
/// `code` is stable and meant for comparison; `message` is for people and never carries key material.
public struct X509SVIDError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The rule that was broken.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case noCertificate, chainTooLong, malformedCertificate, malformedPrivateKey
            case privateKeyMismatch, noURIName, severalURINames, invalidSPIFFEID, noPath
            case certificateAuthority, keyUsage, extendedKeyUsage, unhandledCriticalExtension
            case version, unsupportedKey, unsupportedSignatureAlgorithm, notYetValid, expired
            case noBundle, untrusted, notAnAuthority, pathLength, nameConstraints
            case revoked, revocationUnknown, outsideLimits, limitsUnknown
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// There is no certificate.
        public static let noCertificate = Code(.noCertificate)
        /// The chain has more than 10 certificates or more than 64 KiB, or its certificates can be
        /// combined in too many ways.
        public static let chainTooLong = Code(.chainTooLong)
        /// Some bytes are no DER certificate, or one of a kind that is not supported.
        public static let malformedCertificate = Code(.malformedCertificate)
        /// The private key is no unencrypted PKCS#8 in DER.
        public static let malformedPrivateKey = Code(.malformedPrivateKey)
        /// The private key is not the leaf's.
        public static let privateKeyMismatch = Code(.privateKeyMismatch)
        /// The leaf has no URI among its alternative names.
        public static let noURIName = Code(.noURIName)
        /// The leaf has more than one URI among its alternative names.
        public static let severalURINames = Code(.severalURINames)
        /// The leaf's URI is no SPIFFE ID.
        public static let invalidSPIFFEID = Code(.invalidSPIFFEID)
        /// The leaf's SPIFFE ID has no path.
        public static let noPath = Code(.noPath)
        /// The leaf is a signing certificate (`cA` is true); those never authenticate a peer.
        public static let certificateAuthority = Code(.certificateAuthority)
        /// A key usage is missing or one is present that must not be.
        public static let keyUsage = Code(.keyUsage)
        /// Extended key usage is present without both `serverAuth` and `clientAuth`.
        public static let extendedKeyUsage = Code(.extendedKeyUsage)
        /// A critical extension is not understood.
        public static let unhandledCriticalExtension = Code(.unhandledCriticalExtension)
        /// The certificate is not of X.509 version 3.
        public static let version = Code(.version)
        /// The key's kind or size is not allowed.
        public static let unsupportedKey = Code(.unsupportedKey)
        /// The signature algorithm is weak or unknown, or the certificate names two different ones.
        public static let unsupportedSignatureAlgorithm = Code(.unsupportedSignatureAlgorithm)
        /// A certificate's time has not come.
        public static let notYetValid = Code(.notYetValid)
        /// A certificate's time is over.
        public static let expired = Code(.expired)
        /// There is no X.509 bundle for the leaf's trust domain.
        public static let noBundle = Code(.noBundle)
        /// No path leads from the leaf to an authority of its trust domain.
        public static let untrusted = Code(.untrusted)
        /// A certificate that issued another is no signing certificate.
        public static let notAnAuthority = Code(.notAnAuthority)
        /// A signing certificate allows fewer signing certificates below it.
        public static let pathLength = Code(.pathLength)
        /// A name constraint of a signing certificate excludes a name below it.
        public static let nameConstraints = Code(.nameConstraints)
        /// A certificate of the path was taken back by its issuer.
        public static let revoked = Code(.revoked)
        /// The list that would say whether a certificate was taken back is too old, see ``RevocationPolicy``.
        public static let revocationUnknown = Code(.revocationUnknown)
        /// The trust domain is not trusted with this kind of SVID or with this path, see ``TrustDomainLimits``.
        public static let outsideLimits = Code(.outsideLimits)
        /// What the trust domain is trusted with has not been told yet, see ``TrustDomainLimits/unknown(of:)``.
        public static let limitsUnknown = Code(.limitsUnknown)

        public var description: String { self.value.rawValue }
    }

    /// The rule that was broken; compare this.
    public let code: Code
    /// What was refused and what would have been accepted, for people.
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { self.message }
}
