/// Why a list of what was taken back is not used.
///
/// `code` is stable and meant for comparison; `message` is for people and quotes nothing secret.
public struct RevocationListError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The rule that was broken.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case malformed, tooLarge, unsupported, signature, unknownKey, subject
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The bytes have not the form of such a list.
        public static let malformed = Code(.malformed)
        /// The list, or what it unpacks to, is beyond the limits.
        public static let tooLarge = Code(.tooLarge)
        /// It is a list of another kind: a delta or indirect CRL, another version, an algorithm or a critical
        /// extension that is not understood.
        public static let unsupported = Code(.unsupported)
        /// The signature is wrong, or the signer may not sign such lists.
        public static let signature = Code(.signature)
        /// The trust domain has no key of the ID that the list names.
        public static let unknownKey = Code(.unknownKey)
        /// The list is another one than the one asked for.
        public static let subject = Code(.subject)

        public var description: String { self.value.rawValue }
    }

    /// The rule that was broken; compare this.
    public let code: Code
    /// What was refused and what would have been accepted, for people.
    public let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { self.message }
}
