import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import SPIFFETLS

/// Reads public files below an address, one after the other over one connection, with bounds on size and time.
///
/// For what is believed by signatures in it, whoever sends it: `http` is taken as well as `https`. With `https` the
/// server's certificate must lead to an authority that the machine trusts. Redirections are not followed.
package final class WebFileReader: Sendable {
    private let origin: HTTPSURL.Origin
    private let authority: String
    private let prefix: String
    private let isEncrypted: Bool
    private let timeout: Duration
    private let group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    /// The connection, while nobody uses it.
    private let idle = NIOLockedValueBox<(any Channel)?>(nil)

    /// - Parameters:
    ///   - url: An absolute `http` or `https` URL that paths are put behind.
    ///   - timeout: For connecting, and for each response.
    /// - Throws: ``SPIFFEHTTPError`` `insecureURL` for other schemes, or `invalidURL`.
    package init(
        url: String, timeout: Duration = .seconds(30)
    ) throws(SPIFFEHTTPError) {
        self.isEncrypted = !url.lowercased().hasPrefix("http://")
        let parsed = try HTTPSURL(self.isEncrypted ? url : "https" + url.dropFirst(4))
        let isPort80 =
            !self.isEncrypted && parsed.origin.port == 443
            && !parsed.authority.hasSuffix(":443")
        self.origin = HTTPSURL.Origin(
            host: parsed.origin.host, port: isPort80 ? 80 : parsed.origin.port)
        self.authority = parsed.authority
        let path = parsed.target.prefix { $0 != "?" }
        self.prefix = path.hasSuffix("/") ? String(path) : path + "/"
        self.timeout = timeout
    }

    deinit { self.idle.withLockedValue { $0 }?.close(promise: nil) }

    /// Reads a file; nil when the server says that there is none (404 or 410).
    ///
    /// - Parameters:
    ///   - path: Behind the address, without a slash at its beginning; characters of paths only.
    ///   - limit: The longest body that is taken.
    /// - Throws: ``SPIFFEHTTPError``, also for every other status than 200; `CancellationError`.
    package func read(_ path: String, limit: Int) async throws -> [UInt8]? {
        let result = try await self.get(self.prefix + path, limit: limit)
        switch Int(result.head.status.code) {
        case 200: return result.body
        case 404, 410: return nil
        default:
            throw SPIFFEHTTPError(
                .connection,
                "\(self.origin.host):\(self.origin.port) answers with status \(result.head.status.code) for "
                    + SPIFFEHTTPError.quoted(path))
        }
    }

    private func get(_ target: String, limit: Int) async throws -> HTTPExchange.Result {
        let kept = self.idle.withLockedValue { idle in
            defer { idle = nil }
            return idle
        }
        if let kept, kept.isActive {
            do { return try await self.exchange(kept, target, limit) } catch is HTTPConnectionError
            {
                // The server ended a connection that was idle; on a new one it shows whether it answers.
                try Task.checkCancellation()
            }
        }
        do {
            return try await self.exchange(try await self.connect(), target, limit)
        } catch let error as HTTPConnectionError {
            throw error.reported
        }
    }

    private func exchange(
        _ channel: any Channel, _ target: String, _ limit: Int
    ) async throws -> HTTPExchange.Result {
        var limits = SPIFFEHTTPClient.Limits()
        limits.responseTimeout = self.timeout
        limits.maximumResponseBytes = limit
        let head = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: target, headers: ["host": self.authority])
        let result = try await HTTPConnection.exchange(channel, head, [], limits: limits)
        let old = self.idle.withLockedValue { idle in
            defer { idle = result.head.isKeepAlive ? channel : nil }
            return result.head.isKeepAlive ? idle : channel
        }
        old?.close(promise: nil)
        return result
    }

    private func connect() async throws -> any Channel {
        let origin = self.origin
        guard self.isEncrypted else {
            do {
                return try await ClientBootstrap(group: self.group)
                    .connectTimeout(TimeAmount(self.timeout))
                    .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture {
                            let pipeline = channel.pipeline.syncOperations
                            try pipeline.addHTTPClientHandlers()
                            try pipeline.addHandler(HTTPExchangeHandler())
                        }
                    }
                    .connect(host: origin.host, port: origin.port).get()
            } catch {
                throw SPIFFEHTTPError(
                    .connection, "cannot connect to \(origin.host):\(origin.port)", error)
            }
        }
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.applicationProtocols = ["http/1.1"]
        let context: NIOSSLContext
        do { context = try NIOSSLContext(configuration: tls) } catch {
            throw SPIFFEHTTPError(.noIdentity, "cannot prepare TLS", error)
        }
        return try await HTTPConnection.open(origin, timeout: self.timeout, group: self.group) {
            _ in
            try ServerName(host: origin.host).makeHandler(context: context)
        } refusal: { _ in
            nil
        }
    }
}
