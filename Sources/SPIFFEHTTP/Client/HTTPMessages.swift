public import NIOHTTP1
public import SPIFFE

extension SPIFFEHTTPClient {
    /// A request.
    public struct Request: Sendable {
        /// The method; `GET` unless said otherwise.
        public var method: HTTPMethod
        /// An absolute `https` URL.
        public var url: String
        /// More headers. `host`, `content-length`, `transfer-encoding` and `connection` are set by the client.
        public var headers: HTTPHeaders
        /// The body; empty for none.
        public var body: [UInt8]

        /// Takes the parts as they are; they are checked when the request is sent.
        public init(
            _ method: HTTPMethod = .GET, url: String, headers: HTTPHeaders = HTTPHeaders(),
            body: [UInt8] = []
        ) {
            self.method = method
            self.url = url
            self.headers = headers
            self.body = body
        }
    }

    /// A response, complete.
    public struct Response: Sendable {
        /// The status, whatever it is: none is an error here, and redirections are not followed.
        public let status: HTTPResponseStatus
        /// The headers.
        public let headers: HTTPHeaders
        /// The body.
        public let body: [UInt8]
        /// Who answered.
        public let peer: VerifiedX509SVID

        /// The body as UTF-8; what is none is replaced.
        public var text: String { String(decoding: self.body, as: UTF8.self) }
    }

    /// What a client may use and how long it waits.
    public struct Limits: Sendable {
        /// How long connecting may take, and again the handshake.
        public var connectTimeout: Duration = .seconds(10)
        /// How long a response may take, from sending the request to its last byte.
        public var responseTimeout: Duration = .seconds(30)
        /// The longest body of a response, in bytes.
        public var maximumResponseBytes = 4 * 1024 * 1024
        /// Connections to one server at once; further requests fail.
        public var maximumConnectionsPerServer = 64
        /// A connection that was not used for so long is closed.
        public var idleTimeout: Duration = .seconds(60)
        /// A connection that is so old is used no more: it has the identities of its handshake.
        public var maximumConnectionAge: Duration = .seconds(600)

        /// The defaults.
        public init() {}
    }
}

/// Requests that may be sent again when a connection breaks before the response (RFC 9110 §9.2.2).
extension HTTPMethod {
    var isIdempotent: Bool {
        switch self {
        case .GET, .HEAD, .PUT, .DELETE, .OPTIONS, .TRACE: true
        default: false
        }
    }
}
