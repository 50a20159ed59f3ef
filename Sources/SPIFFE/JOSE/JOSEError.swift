/// Why JSON, base64url, a key or a signature of the JOSE family was refused.
///
/// `code` is stable and meant for comparison; `message` is for people and never carries key material.
public struct JOSEError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case base64, jsonSyntax, duplicateName, tooDeep, invalidUTF8, numberOutOfRange
            case unsupportedKeyType, malformedKey, keySize, unsupportedAlgorithm, signing
            case compactForm
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The text is not base64 or base64url in its one strict form.
        public static let base64 = Code(.base64)
        /// The text is not JSON (RFC 8259).
        public static let jsonSyntax = Code(.jsonSyntax)
        /// A JSON object has the same member name twice.
        public static let duplicateName = Code(.duplicateName)
        /// The JSON is nested more than 32 levels deep.
        public static let tooDeep = Code(.tooDeep)
        /// The text is not UTF-8, or escapes half of a surrogate pair.
        public static let invalidUTF8 = Code(.invalidUTF8)
        /// A JSON number is too large for a double.
        public static let numberOutOfRange = Code(.numberOutOfRange)
        /// The kind of key has no algorithm that a JWT-SVID may use.
        public static let unsupportedKeyType = Code(.unsupportedKeyType)
        /// The key's members are missing or do not form a key.
        public static let malformedKey = Code(.malformedKey)
        /// An RSA key is shorter than 2048 or longer than 8192 bits.
        public static let keySize = Code(.keySize)
        /// The algorithm is none of the nine that a JWT-SVID may use.
        public static let unsupportedAlgorithm = Code(.unsupportedAlgorithm)
        /// The private key could not sign.
        public static let signing = Code(.signing)
        /// The text is not in JWS compact form with JSON objects in it, or is too long.
        public static let compactForm = Code(.compactForm)

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
