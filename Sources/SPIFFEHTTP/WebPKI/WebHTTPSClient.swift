import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import SPIFFETLS

/// HTTPS to servers outside any trust domain: object stores, Kubernetes API servers, bundle endpoints of partners.
///
/// One connection for each request, since these are rare. Only `https` URLs are taken, TLS 1.2 and later.
/// Redirections are not followed: a token or a signature must not travel to where somebody else points.
package struct WebHTTPSClient: Sendable {
    /// What a server's certificate must lead to.
    package enum ServerAuthentication: Sendable, Hashable {
        /// The authorities that the machine trusts, and the host name of the URL.
        case machineAuthorities
        /// These authorities (PEM) and no others, and the host name of the URL.
        case authorities(pem: [UInt8])
        /// Nothing. Only for a caller that judges ``Response/certificatesDER`` or the body by other means.
        case unverified
    }

    /// What a client proves itself with.
    package struct ClientCertificate: Sendable, Hashable {
        /// The chain, leaf first, PEM.
        package let chainPEM: [UInt8]
        /// The private key, PEM.
        package let keyPEM: [UInt8]

        package init(chainPEM: [UInt8], keyPEM: [UInt8]) {
            self.chainPEM = chainPEM
            self.keyPEM = keyPEM
        }
    }

    /// A request.
    package struct Request: Sendable {
        package var method: String
        /// An absolute `https` URL.
        package var url: String
        /// `host`, `content-length`, `transfer-encoding` and `connection` are set by the client.
        package var headers: [(name: String, value: String)]
        package var body: [UInt8]

        package init(
            _ method: String, url: String, headers: [(name: String, value: String)] = [],
            body: [UInt8] = []
        ) {
            self.method = method
            self.url = url
            self.headers = headers
            self.body = body
        }
    }

    /// A response, complete.
    package struct Response: Sendable {
        /// The status code, whatever it is: none is an error here.
        package let status: Int
        package let headers: [(name: String, value: String)]
        package let body: [UInt8]
        /// What the server showed in the handshake, leaf first; it has proven to hold the leaf's key. Only filled
        /// for `unverified`.
        package let certificatesDER: [[UInt8]]
    }

    private let authentication: ServerAuthentication
    private let certificate: ClientCertificate?
    private let timeout: Duration
    private let maximumResponseBytes: Int
    private let group: any EventLoopGroup

    /// - Parameters:
    ///   - timeout: For connecting, for the handshake, and for the response.
    ///   - maximumResponseBytes: The longest body that is taken.
    package init(
        _ authentication: ServerAuthentication, certificate: ClientCertificate? = nil,
        timeout: Duration = .seconds(15), maximumResponseBytes: Int = 1024 * 1024
    ) {
        self.authentication = authentication
        self.certificate = certificate
        self.timeout = timeout
        self.maximumResponseBytes = maximumResponseBytes
        self.group = MultiThreadedEventLoopGroup.singleton
    }

    /// Where a request to this URL goes, as the `host` header will say.
    ///
    /// - Throws: ``SPIFFEHTTPError`` `insecureURL` or `invalidURL`.
    package static func hostHeader(of url: String) throws(SPIFFEHTTPError) -> String {
        try HTTPSURL(url).authority
    }

    /// Sends a request and waits for the whole response.
    ///
    /// - Throws: ``SPIFFEHTTPError``, `CancellationError`.
    package func send(_ request: Request) async throws -> Response {
        let url = try HTTPSURL(request.url)
        let certificates = NIOLockedValueBox<[[UInt8]]>([])
        let channel = try await self.connect(url.origin, certificates)
        var headers = HTTPHeaders()
        for (name, value) in request.headers
        where !["host", "connection", "content-length", "transfer-encoding"]
            .contains(name.lowercased())
        {
            headers.add(name: name, value: value)
        }
        headers.add(name: "host", value: url.authority)
        headers.add(name: "connection", value: "close")
        if !request.body.isEmpty || ["POST", "PUT", "PATCH"].contains(request.method) {
            headers.add(name: "content-length", value: "\(request.body.count)")
        }
        let head = HTTPRequestHead(
            version: .http1_1, method: HTTPMethod(rawValue: request.method), uri: url.target,
            headers: headers)
        do {
            let result = try await HTTPConnection.exchange(
                channel, head, request.body, limits: self.limits)
            channel.close(promise: nil)
            return Response(
                status: Int(result.head.status.code),
                headers: result.head.headers.map { ($0.name, $0.value) }, body: result.body,
                certificatesDER: certificates.withLockedValue { $0 })
        } catch let error as HTTPConnectionError {
            throw error.reported
        }
    }

    private var limits: SPIFFEHTTPClient.Limits {
        var limits = SPIFFEHTTPClient.Limits()
        limits.connectTimeout = self.timeout
        limits.responseTimeout = self.timeout
        limits.maximumResponseBytes = self.maximumResponseBytes
        return limits
    }

    /// Connects and waits for the end of the handshake.
    private func connect(
        _ origin: HTTPSURL.Origin, _ certificates: NIOLockedValueBox<[[UInt8]]>
    ) async throws -> any Channel {
        let place = "\(origin.host):\(origin.port)"
        let context = try self.context(place)
        do {
            return try await HTTPConnection.open(
                origin, timeout: self.timeout, group: self.group
            ) { _ in
                try self.handler(context, origin, certificates)
            } refusal: { _ in
                nil
            }
        } catch {
            try Task.checkCancellation()
            throw error
        }
    }

    private func context(_ place: String) throws(SPIFFEHTTPError) -> NIOSSLContext {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.setBundleEndpointDefaults()
        tls.applicationProtocols = ["http/1.1"]
        tls.shutdownTimeout = .seconds(1)
        do {
            switch self.authentication {
            case .machineAuthorities: tls.trustRoots = .default
            case .authorities(let pem):
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(pem))
            case .unverified:
                // The callback takes the place of verification; it only runs when some is asked for.
                tls.trustRoots = .certificates([])
                tls.certificateVerification = .noHostnameVerification
            }
            if let certificate = self.certificate {
                tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(certificate.chainPEM).map
                { .certificate($0) }
                tls.privateKey = .privateKey(
                    try NIOSSLPrivateKey(bytes: certificate.keyPEM, format: .pem))
            }
            return try NIOSSLContext(configuration: tls)
        } catch {
            throw SPIFFEHTTPError(
                .noIdentity,
                "the certificates or the key for the connection to \(place) cannot be used", error)
        }
    }

    private func handler(
        _ context: NIOSSLContext, _ origin: HTTPSURL.Origin,
        _ certificates: NIOLockedValueBox<[[UInt8]]>
    ) throws -> NIOSSLClientHandler {
        guard case .unverified = self.authentication else {
            return try ServerName(host: origin.host).makeHandler(context: context)
        }
        let isAddress = (try? SocketAddress(ipAddress: origin.host, port: origin.port)) != nil
        let name = isAddress ? nil : origin.host
        return try NIOSSLClientHandler(context: context, serverHostname: name) { shown, promise in
            promise.completeWith(
                Result {
                    let chain = try shown.map { try $0.toDERBytes() }
                    certificates.withLockedValue { $0 = chain }
                    return .certificateVerified
                })
        }
    }
}
