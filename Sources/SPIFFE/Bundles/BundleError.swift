/// Why a bundle was refused as a whole.
///
/// Single keys that cannot be used do not fail a bundle: they are left out and reported to the caller.
public struct BundleError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case malformed, noKeys, sequence, malformedAuthority, keyID, noTrustDomains, trustDomain
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The document is no JSON object, or one that parsers may read in two ways.
        public static let malformed = Code(.malformed)
        /// The document has no `keys`, or it is no array.
        public static let noKeys = Code(.noKeys)
        /// `spiffe_sequence` is no whole number between 0 and 2^64 - 1.
        public static let sequence = Code(.sequence)
        /// An authority that the bundle is made from cannot be read or has an unsuitable key.
        public static let malformedAuthority = Code(.malformedAuthority)
        /// A key ID is empty or occurs twice.
        public static let keyID = Code(.keyID)
        /// The document has no `trust_domains`, or it is no object.
        public static let noTrustDomains = Code(.noTrustDomains)
        /// A map has a name that is no trust domain's.
        public static let trustDomain = Code(.trustDomain)

        public var description: String { self.value.rawValue }
    }

    /// What was wrong; compare this.
    public let code: Code
    /// What was refused and what would have been accepted, for people.
    public let message: String

    init(_ code: Code, _ trustDomain: TrustDomain, _ reason: String) {
        self.code = code
        self.message = "bundle of \(trustDomain) rejected: \(reason)"
    }

    init(mapRejected code: Code, _ reason: String) {
        self.code = code
        self.message = "bundle map rejected: \(reason)"
    }

    public var description: String { self.message }
}
