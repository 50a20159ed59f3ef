import SPIFFE

/// Why a bundle could not be fetched.
///
/// `code` is stable and meant for comparison; `message` names the endpoint and the reason, for people.
public struct BundleEndpointError: Error, Sendable, CustomStringConvertible {
    /// What went wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case invalidURL, noBundle, trustRoots, unreachable, refusedServer, timedOut, redirect
            case status, encoding, tooLarge, bundle, sequence, cancelled, unknownTrustDomain
            case alreadyRunning
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The URL is not one of a bundle endpoint.
        public static let invalidURL = Code(.invalidURL)
        /// There is no bundle to verify the endpoint's X509-SVID with. Nothing was sent.
        public static let noBundle = Code(.noBundle)
        /// The trust roots for `https_web` cannot be read. Nothing was sent.
        public static let trustRoots = Code(.trustRoots)
        /// The endpoint cannot be reached, hung up or broke a rule of HTTP.
        public static let unreachable = Code(.unreachable)
        /// The server is not the one that the profile asks for; `cause` says why. Nothing was sent.
        public static let refusedServer = Code(.refusedServer)
        /// Connecting or the response took too long.
        public static let timedOut = Code(.timedOut)
        /// A redirection leads nowhere, to what is no bundle endpoint, or on and on.
        public static let redirect = Code(.redirect)
        /// The status is none that comes with a bundle; see ``BundleEndpointError/status``.
        public static let status = Code(.status)
        /// The body is encoded in a way that nobody asked for.
        public static let encoding = Code(.encoding)
        /// The body is larger than allowed.
        public static let tooLarge = Code(.tooLarge)
        /// The body is no bundle; `cause` is the `BundleError`.
        public static let bundle = Code(.bundle)
        /// The bundle is older than the one at hand, which stays (SPIFFE Federation §4.2).
        public static let sequence = Code(.sequence)
        /// The task was cancelled.
        public static let cancelled = Code(.cancelled)
        /// A source has no endpoint for this trust domain.
        public static let unknownTrustDomain = Code(.unknownTrustDomain)
        /// A source runs once.
        public static let alreadyRunning = Code(.alreadyRunning)

        public var description: String { self.value.rawValue }
    }

    /// What went wrong; compare this.
    public let code: Code
    /// What failed, where, and what would have been accepted, for people.
    public let message: String
    /// The error below this one, if any.
    public let cause: (any Error)?
    /// The HTTP status, with `status`.
    public let status: Int?
    /// How long the endpoint asks to be left alone (`Retry-After` in seconds), with `status`.
    public let retryAfter: Duration?

    init(
        _ code: Code, _ message: String, cause: (any Error)? = nil, status: Int? = nil,
        retryAfter: Duration? = nil
    ) {
        self.code = code
        self.message = message
        self.cause = cause
        self.status = status
        self.retryAfter = retryAfter
    }

    /// An error at an endpoint, or at where it has redirected to.
    init(
        _ code: Code, _ endpoint: BundleEndpoint, at url: BundleEndpointURL? = nil,
        _ reason: String, cause: (any Error)? = nil, status: Int? = nil,
        retryAfter: Duration? = nil
    ) {
        var place =
            "bundle endpoint \(Self.quoted(endpoint.url.string)) of \(endpoint.trustDomain)"
        if let url, url != endpoint.url {
            place += ", redirected to \(Self.quoted(url.string))"
        }
        self.init(
            code, "\(place): \(reason)", cause: cause, status: status, retryAfter: retryAfter)
    }

    public var description: String { self.message }

    /// Quotes untrusted text for a message: about 200 bytes, control characters and what is not ASCII replaced.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for byte in text.utf8 {
            if result.utf8.count > 200 {
                result += "…"
                break
            }
            result.unicodeScalars.append(
                (0x20..<0x7F).contains(byte) && byte != UInt8(ascii: "\"")
                    ? Unicode.Scalar(byte) : "?")
        }
        return result + "\""
    }
}
