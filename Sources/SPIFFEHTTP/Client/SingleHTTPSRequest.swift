package import NIOCore
package import NIOHTTP1
package import SPIFFE
package import SPIFFETLS

/// One request over a connection of its own, for targets of ours that verify the server anew each time.
package struct SingleHTTPSRequest: Sendable {
    /// How the server is known. There is no case for one that may be anybody.
    package enum Server: Sendable {
        /// By its SPIFFE ID.
        case spiffe(MTLSClientConfiguration)
        /// By the host name of the URL.
        case webPKI(WebPKIClientConfiguration)
    }

    /// A response, complete; none of its statuses is an error here.
    package struct Response: Sendable {
        /// The status.
        package let status: HTTPResponseStatus
        /// The headers.
        package let headers: HTTPHeaders
        /// The body.
        package let body: [UInt8]
        /// Who answered; nil for a server that is known by its name.
        package let peer: VerifiedX509SVID?
    }

    private let url: HTTPSURL
    private let headers: HTTPHeaders

    /// A `GET` request.
    ///
    /// - Parameters:
    ///   - url: Where to.
    ///   - headers: More headers. `host`, `connection` and those of the body's length are set here.
    package init(get url: HTTPSURL, headers: HTTPHeaders) {
        self.url = url
        self.headers = headers
    }

    /// Connects, sends the request, waits for the whole response, and closes the connection.
    ///
    /// - Throws: ``SPIFFEHTTPError``, `CancellationError`.
    package func send(
        to server: Server, limits: SPIFFEHTTPClient.Limits, group: any EventLoopGroup
    ) async throws -> Response {
        let (channel, peer) = try await self.connect(server, limits.connectTimeout, group)
        var head = SPIFFEHTTPClient.head(
            SPIFFEHTTPClient.Request(url: ""), self.url, self.headers)
        head.headers.add(name: "connection", value: "close")
        do {
            let result = try await HTTPConnection.exchange(channel, head, [], limits: limits)
            channel.close(promise: nil)
            return Response(
                status: result.head.status, headers: result.head.headers, body: result.body,
                peer: peer)
        } catch let error as HTTPConnectionError {
            throw error.reported
        }
    }

    private func connect(
        _ server: Server, _ timeout: Duration, _ group: any EventLoopGroup
    ) async throws -> (any Channel, VerifiedX509SVID?) {
        let origin = self.url.origin
        do {
            switch server {
            case .spiffe(let tls):
                let connection = try await HTTPConnection.connect(
                    origin, tls, timeout: timeout, group: group)
                return (connection.channel, connection.peer)
            case .webPKI(let tls):
                let channel = try await HTTPConnection.open(origin, timeout: timeout, group: group)
                { _ in
                    try tls.makeHandler(host: origin.host)
                } refusal: { error in
                    WebPKIClientConfiguration.refusal(error, host: origin.host).map {
                        SPIFFEHTTPError(
                            .refusedServer,
                            "the server at \(origin.host):\(origin.port) is refused: \($0)")
                    }
                }
                return (channel, nil)
            }
        } catch {
            try Task.checkCancellation()
            throw error
        }
    }
}
