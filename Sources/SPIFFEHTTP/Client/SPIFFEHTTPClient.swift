public import NIOCore
import NIOHTTP1
public import NIOPosix
import SPIFFE
public import SPIFFETLS

/// A small HTTPS client that knows servers by their SPIFFE IDs.
///
/// Speaks HTTP/1.1 over mutual TLS, keeps connections open for later requests, and takes only `https` URLs. Host
/// names say where a server is; who it must be is for the authorizer to say. Redirections are not followed,
/// since a token must not travel to where somebody else points.
///
/// ```swift
/// let client = SPIFFEHTTPClient(
///     tls: MTLSClientConfiguration(
///         svid: source, bundles: source, authorizer: .exactly(reports)))
/// let response = try await client.get("https://reports.internal:8443/today")
/// print(response.status, response.text)
/// ```
///
/// The sources are asked at each new connection, so rotation needs no restart. Connections that are not in use are
/// closed by and by; ``shutDown()`` does it at once.
public final class SPIFFEHTTPClient: Sendable {
    private let tls: MTLSClientConfiguration
    private let tokens: JWTSVIDInjector?
    private let limits: Limits
    private let group: any EventLoopGroup
    private let pool: HTTPConnectionPool

    /// - Parameters:
    ///   - tls: Who this client is, and which servers it means to talk to.
    ///   - tokens: Puts a JWT-SVID on each request that has no `authorization` header.
    ///   - limits: What the client may use and how long it waits.
    ///   - group: Where connections live; of the Posix kind.
    public init(
        tls: MTLSClientConfiguration, tokens: JWTSVIDInjector? = nil, limits: Limits = Limits(),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.tls = tls
        self.tokens = tokens
        self.limits = limits
        self.group = group
        self.pool = HTTPConnectionPool(limits: limits)
    }

    /// Closes the connections that are not in use and refuses new requests; those under way may end.
    public func shutDown() { self.pool.shutDown() }

    /// Sends a `GET` request.
    ///
    /// - Throws: ``SPIFFEHTTPError``, `CancellationError`.
    public func get(_ url: String) async throws -> Response {
        try await self.send(Request(url: url))
    }

    /// Sends a request and waits for the whole response.
    ///
    /// When a connection that was kept open turns out to be gone, the request is sent again on a new one, if its method
    /// allows that.
    ///
    /// - Throws: ``SPIFFEHTTPError``, `CancellationError`. A response with an error status is no error.
    public func send(_ request: Request) async throws -> Response {
        let url = try HTTPSURL(request.url)
        try Self.check(request.method)
        var headers = request.headers
        if let tokens = self.tokens, !headers.contains(name: "authorization") {
            headers.add(
                name: "authorization", value: try await tokens.authorization(for: request.url))
        }
        let head = Self.head(request, url, headers)
        if let connection = try self.pool.reuse(url.origin) {
            do {
                return try await self.exchange(head, request.body, connection)
            } catch let error as HTTPConnectionError
                where error.cameBeforeResponse && request.method.isIdempotent
            {
                // An old connection that the server had closed; a new one decides.
            } catch let error as HTTPConnectionError {
                throw error.reported
            }
        }
        let connection = try await self.connect(url.origin)
        do {
            return try await self.exchange(head, request.body, connection)
        } catch let error as HTTPConnectionError {
            throw error.reported
        }
    }

    /// Refuses what would write more than a method (RFC 9110 §5.6.2), and CONNECT, which is no request for a
    /// response.
    private static func check(_ method: HTTPMethod) throws(SPIFFEHTTPError) {
        let name = method.rawValue
        let isToken =
            !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "a")...UInt8(ascii: "z"):
                    true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
        guard isToken, name != "CONNECT" else {
            throw SPIFFEHTTPError(
                .invalidMethod, "method \(SPIFFEHTTPError.quoted(name)) cannot be sent")
        }
    }

    static func head(
        _ request: Request, _ url: HTTPSURL, _ given: HTTPHeaders
    ) -> HTTPRequestHead {
        var headers = given
        for name in ["host", "connection", "content-length", "transfer-encoding"] {
            headers.remove(name: name)
        }
        headers.add(name: "host", value: url.authority)
        if !request.body.isEmpty || [.POST, .PUT, .PATCH].contains(request.method) {
            headers.add(name: "content-length", value: "\(request.body.count)")
        }
        return HTTPRequestHead(
            version: .http1_1, method: request.method, uri: url.target, headers: headers)
    }

    /// Opens a connection and waits until the server has shown who it is.
    private func connect(_ origin: HTTPSURL.Origin) async throws -> HTTPConnection {
        try self.pool.reserve(origin)
        do {
            let connection = try await HTTPConnection.connect(
                origin, self.tls, timeout: self.limits.connectTimeout, group: self.group)
            connection.channel.closeFuture.whenComplete { [pool = self.pool] _ in
                pool.closed(connection)
            }
            return connection
        } catch {
            self.pool.unreserve(origin)
            try Task.checkCancellation()
            throw error
        }
    }

    private func exchange(
        _ head: HTTPRequestHead, _ body: [UInt8], _ connection: HTTPConnection
    ) async throws -> Response {
        let channel = connection.channel
        let result = try await HTTPConnection.exchange(channel, head, body, limits: self.limits)
        if result.isReusable {
            self.pool.release(connection)
        } else {
            channel.close(promise: nil)
        }
        return Response(
            status: result.head.status, headers: result.head.headers, body: result.body,
            peer: connection.peer)
    }
}
