import GRPCCore
import GRPCProtobuf

/// Why the Broker API gave no answer, or none that may be used.
///
/// `code` is stable and meant for comparison; `message` is for people and never carries keys or tokens.
public struct BrokerError: Error, Sendable, CustomStringConvertible {
    /// What went wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case noAddress, invalidAddress, invalidReference, referenceNotLocal, noAudience
            case invalidRequest, notSupported, workloadNotFound, permissionDenied, unauthenticated
            case noCredentials, serverNotTrusted, unavailable, deadlineExceeded, invalidResponse
            case noMatchingSVID, notReady, failed, stopped, alreadyRunning
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// Neither an explicit address nor `SPIFFE_BROKER_SOCKET` is there.
        public static let noAddress = Code(.noAddress)
        /// An address has not the form that the standard asks for.
        public static let invalidAddress = Code(.invalidAddress)
        /// A workload reference breaks a rule of the standard.
        public static let invalidReference = Code(.invalidReference)
        /// A reference that means something on one node only was about to leave it.
        public static let referenceNotLocal = Code(.referenceNotLocal)
        /// A JWT-SVID was asked for without an audience.
        public static let noAudience = Code(.noAudience)
        /// The server says that the request is wrong. Never retried.
        public static let invalidRequest = Code(.invalidRequest)
        /// The server does not know the call. Never retried.
        public static let notSupported = Code(.notSupported)
        /// The workload does not exist, or has ended: drop all that is held for it.
        public static let workloadNotFound = Code(.workloadNotFound)
        /// The workload is entitled to nothing, or this broker may not act for it: drop all that is held for
        /// it. See ``BrokerError/reason``.
        public static let permissionDenied = Code(.permissionDenied)
        /// The server does not accept this broker's X509-SVID, which is not shown again.
        public static let unauthenticated = Code(.unauthenticated)
        /// This broker has no X509-SVID to show, or none but the one that was not accepted.
        public static let noCredentials = Code(.noCredentials)
        /// Whoever answers at the address is not the server that is expected.
        public static let serverNotTrusted = Code(.serverNotTrusted)
        /// The server cannot be reached or cannot serve now.
        public static let unavailable = Code(.unavailable)
        /// There was no answer in time.
        public static let deadlineExceeded = Code(.deadlineExceeded)
        /// The answer breaks a rule of the standard; it was discarded whole.
        public static let invalidResponse = Code(.invalidResponse)
        /// There are SVIDs, and the picker wants none of them.
        public static let noMatchingSVID = Code(.noMatchingSVID)
        /// The source has not been updated yet.
        public static let notReady = Code(.notReady)
        /// The call failed in another way.
        public static let failed = Code(.failed)
        /// The client or source has ended.
        public static let stopped = Code(.stopped)
        /// `run()` was called twice.
        public static let alreadyRunning = Code(.alreadyRunning)

        public var description: String { self.value.rawValue }
    }

    /// What went wrong; compare this.
    public let code: Code
    /// What failed and what to do about it, for people.
    public let message: String
    /// The server's own word for it, such as `WORKLOAD_NOT_ENTITLED` (Broker API §4.8); nil when it gave none.
    /// Servers need not give one, so let nothing depend on it.
    public let reason: String?
    /// The error below this one, if any.
    public let cause: (any Error)?

    init(_ code: Code, _ message: String, reason: String? = nil, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.reason = reason
        self.cause = cause
    }

    public var description: String { self.message }

    /// Whether the server takes back what it gave for the workload (Broker API §4.9, §5.2.1).
    var withdrawsWorkload: Bool { [.workloadNotFound, .permissionDenied].contains(self.code) }

    /// Whether asking again later can help. A PID whose process has ended may come to mean another one, so it is
    /// never asked for again.
    func isRetryable(_ reference: WorkloadReference) -> Bool {
        if self.code == .workloadNotFound { return !reference.isLocal }
        return ![
            .invalidRequest, .notSupported, .invalidReference, .referenceNotLocal, .stopped,
            .alreadyRunning,
        ].contains(self.code)
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

extension BrokerError {
    /// Says what a failed call means.
    ///
    /// - Parameter refusal: Why the server was not believed in the handshake, if that was it.
    init(
        _ error: any Error, calling method: String, at address: BrokerAddress, refusal: String?
    ) {
        switch error {
        case let error as BrokerError: self = error
        case let error as RPCError: self.init(error, method, address, refusal)
        case let error as RuntimeError where error.code == .clientIsStopped:
            self.init(.unavailable, "the connection to \(address) has ended", cause: error)
        default:
            self.init(.failed, "\(method) failed at Broker Endpoint \(address)", cause: error)
        }
    }

    private init(
        _ error: RPCError, _ method: String, _ address: BrokerAddress, _ refusal: String?
    ) {
        let said = error.message.isEmpty ? "" : ": " + Self.quoted(error.message)
        let place = "Broker Endpoint \(address)"
        // Details are a courtesy: without them, or with rubbish, the code alone decides.
        let details = try? error.unpackGoogleRPCStatus()
        let infos = details?.details.compactMap(\.errorInfo) ?? []
        let reason = infos.first(where: { $0.domain == "spiffe.io" })?.reason
        switch error.code {
        case .invalidArgument:
            self.init(
                .invalidRequest, "\(place) refused \(method) as invalid\(said)", reason: reason,
                cause: error)
        case .unimplemented:
            self.init(.notSupported, "\(place) does not know \(method)\(said)", cause: error)
        case .notFound:
            self.init(
                .workloadNotFound, "\(place) knows no such workload\(said)", reason: reason,
                cause: error)
        case .permissionDenied:
            self.init(
                .permissionDenied,
                "\(place) gives nothing for this workload\(said); register an entry whose selectors "
                    + "match it, and let this broker act for it",
                reason: reason, cause: error)
        case .unauthenticated:
            self.init(
                .unauthenticated, "\(place) does not accept this broker's X509-SVID\(said)",
                cause: error)
        case .unavailable:
            if let refusal {
                self.init(
                    .serverNotTrusted, "\(place) is not the expected server: \(refusal)",
                    cause: error)
            } else {
                self.init(
                    .unavailable,
                    "\(place) is not available\(said); check that the agent runs, serves brokers and "
                        + "has this one on its list",
                    cause: error)
            }
        case .deadlineExceeded:
            self.init(
                .deadlineExceeded, "\(place) did not answer \(method) in time", cause: error)
        default:
            self.init(
                .failed, "\(method) failed at \(place) with \(error.code)\(said)", cause: error)
        }
    }
}
