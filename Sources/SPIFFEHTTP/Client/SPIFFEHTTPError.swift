/// Why a request got no response.
///
/// `code` is stable and meant for comparison; `message` is for people and never carries tokens.
public struct SPIFFEHTTPError: Error, Sendable, CustomStringConvertible {
    /// What went wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case invalidURL, insecureURL, noIdentity, connection, refusedServer, timedOut
            case responseTooLarge, tooManyConnections, closed, invalidMethod, proof, otherRecipient
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The URL cannot be read.
        public static let invalidURL = Code(.invalidURL)
        /// The URL is not `https`. Nothing was sent.
        public static let insecureURL = Code(.insecureURL)
        /// There is no X509-SVID, JWT-SVID or WIT-SVID to present; `cause` says why. Nothing was sent.
        public static let noIdentity = Code(.noIdentity)
        /// The server cannot be reached, refuses us, hung up or broke a rule of HTTP.
        public static let connection = Code(.connection)
        /// The server is not who it is expected to be; `cause` says why. Nothing was sent.
        public static let refusedServer = Code(.refusedServer)
        /// Connecting or the response took too long.
        public static let timedOut = Code(.timedOut)
        /// The response is larger than allowed.
        public static let responseTooLarge = Code(.responseTooLarge)
        /// There are as many connections to this server as allowed, all in use.
        public static let tooManyConnections = Code(.tooManyConnections)
        /// The method is no token of HTTP, or CONNECT.
        public static let invalidMethod = Code(.invalidMethod)
        /// The request cannot be given a proof; `cause` says why. Nothing was sent.
        public static let proof = Code(.proof)
        /// Proofs are for another server than that of the URL. Nothing was sent.
        public static let otherRecipient = Code(.otherRecipient)
        /// The client has been shut down.
        public static let closed = Code(.closed)

        public var description: String { self.value.rawValue }
    }

    /// What went wrong; compare this.
    public let code: Code
    /// What failed and what would have been accepted, for people.
    public let message: String
    /// The error below this one, if any.
    public let cause: (any Error)?

    init(_ code: Code, _ message: String, _ cause: (any Error)? = nil) {
        self.code = code
        self.message = cause.map { "\(message): \($0)" } ?? message
        self.cause = cause
    }

    public var description: String { self.message }

    /// Quotes untrusted text for a message: at most 200 bytes, control characters escaped.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            if result.utf8.count > 200 {
                result += "…"
                break
            }
            result += scalar.value < 0x20 || scalar.value == 0x7F ? "?" : String(scalar)
        }
        return result + "\""
    }
}
