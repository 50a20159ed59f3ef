/// Why the Workload API gave no answer, or none that may be used.
///
/// `code` is stable and meant for comparison; `message` is for people and never carries keys or tokens.
public struct WorkloadAPIError: Error, Sendable, CustomStringConvertible {
    /// What went wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case noAddress, invalidAddress, invalidRequest, notSupported, noIdentity, unavailable
            case deadlineExceeded, invalidResponse, failed, noMatchingSVID, noAudience, notReady
            case alreadyRunning, stopped
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// Neither an explicit address nor `SPIFFE_ENDPOINT_SOCKET` is there.
        public static let noAddress = Code(.noAddress)
        /// An address has not the form that the standard asks for.
        public static let invalidAddress = Code(.invalidAddress)
        /// The server says that the request is wrong. Never retried.
        public static let invalidRequest = Code(.invalidRequest)
        /// The server does not know the call. Never retried.
        public static let notSupported = Code(.notSupported)
        /// The server knows no identity for this process, or not the one asked for.
        public static let noIdentity = Code(.noIdentity)
        /// The server cannot be reached or cannot serve now.
        public static let unavailable = Code(.unavailable)
        /// There was no answer in time.
        public static let deadlineExceeded = Code(.deadlineExceeded)
        /// The answer breaks a rule of the standard; it was discarded whole.
        public static let invalidResponse = Code(.invalidResponse)
        /// The call failed in another way.
        public static let failed = Code(.failed)
        /// There are SVIDs, and the picker wants none of them.
        public static let noMatchingSVID = Code(.noMatchingSVID)
        /// A JWT-SVID was asked for without an audience.
        public static let noAudience = Code(.noAudience)
        /// The source has not been updated yet.
        public static let notReady = Code(.notReady)
        /// `run()` was called twice.
        public static let alreadyRunning = Code(.alreadyRunning)
        /// The client or source has ended.
        public static let stopped = Code(.stopped)

        public var description: String { self.value.rawValue }
    }

    /// What went wrong; compare this.
    public let code: Code
    /// What failed and what to do about it, for people.
    public let message: String
    /// The error below this one, if any.
    public let cause: (any Error)?

    init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    public var description: String { self.message }

    /// Whether asking again later may help. The two answers for which the standard says no, and our own
    /// end, do not change by waiting.
    var isRetryable: Bool {
        ![.invalidRequest, .notSupported, .stopped, .alreadyRunning].contains(self.code)
    }

    /// Quotes untrusted text for a message: control characters escaped, at most 200 bytes.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            if result.utf8.count > 200 {
                result += "…"
                break
            }
            switch scalar.value {
            case 0..<0x20, 0x7F: result += "\\u{" + String(scalar.value, radix: 16) + "}"
            case 0x22: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
