/// Why a custody statement or a receipt was not made, or was refused.
///
/// `code` is stable and meant for comparison; `message` is for people and never carries key material.
public struct CustodyError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case invalidClaim, malformed, tooLarge, subject, signature, signing, untrusted, time
            case receipt
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// A claim is missing, too long, or has characters that it may not have.
        public static let invalidClaim = Code(.invalidClaim)
        /// The text is no statement or receipt in the form of docs/custody.md.
        public static let malformed = Code(.malformed)
        /// It has more than 16 KiB.
        public static let tooLarge = Code(.tooLarge)
        /// The one who states is not the one whose certificate is in it.
        public static let subject = Code(.subject)
        /// The key of its certificate did not sign it.
        public static let signature = Code(.signature)
        /// The private key could not sign.
        public static let signing = Code(.signing)
        /// The certificates lead to no authority that is trusted, have expired or were taken back.
        public static let untrusted = Code(.untrusted)
        /// It is dated into the future, or to when its certificate was not valid.
        public static let time = Code(.time)
        /// The receipt is not for the statement beside it, or not by whom that names as its peer.
        public static let receipt = Code(.receipt)

        public var description: String { self.value.rawValue }
    }

    /// What was wrong; compare this.
    public let code: Code
    /// What failed and what would have been accepted, for people.
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { self.message }
}
