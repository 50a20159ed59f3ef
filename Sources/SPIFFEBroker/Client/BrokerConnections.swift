import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import SPIFFE
import SPIFFETLS

/// The connections of a broker: one for the X509-SVID that it has now, and older ones for as long as their streams
/// last.
///
/// A certificate is shown in the handshake only, so a new one takes a new connection. One that the server did not
/// accept is not shown a second time (Broker Endpoint §6).
final class BrokerConnections: Sendable {
    typealias Client = GRPCClient<HTTP2ClientTransport.Posix>

    /// A connection that presents one X509-SVID.
    final class Connection: Sendable {
        let client: Client
        let svid: X509SVID
        private let refused: NIOLockedValueBox<String?>

        init(_ client: Client, _ svid: X509SVID, refused: NIOLockedValueBox<String?>) {
            self.client = client
            self.svid = svid
            self.refused = refused
        }

        /// Why the server was not believed in the last handshake, if it was not.
        var refusal: String? { self.refused.withLockedValue { $0 } }
    }

    private struct State {
        var current: Connection?
        var refused: X509SVID?
        var isRunning = false
        var isClosed = false
    }

    private let address: BrokerAddress
    private let source: any X509SVIDSource
    private let verifier: TLSPeerVerifier
    private let configuration: BrokerConfiguration
    private let state = NIOLockedValueBox(State())
    private let made: AsyncStream<Client>
    private let continuation: AsyncStream<Client>.Continuation

    init(
        _ address: BrokerAddress, svid: any X509SVIDSource, verifier: TLSPeerVerifier,
        _ configuration: BrokerConfiguration
    ) {
        self.address = address
        self.source = svid
        self.verifier = verifier
        self.configuration = configuration
        (self.made, self.continuation) = AsyncStream.makeStream(of: Client.self)
    }

    /// Keeps the connections until ``close()`` is called or the task is cancelled.
    ///
    /// - Throws: ``BrokerError`` `alreadyRunning` the second time.
    func run() async throws(BrokerError) {
        let isFirst = self.state.withLockedValue { state in
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard isFirst else {
            throw BrokerError(.alreadyRunning, "the Broker API client runs already")
        }
        await withDiscardingTaskGroup { group in
            for await client in self.made {
                // What ends a connection is told to the calls on it.
                group.addTask { try? await client.runConnections() }
            }
            if Task.isCancelled { group.cancelAll() }
        }
        self.close()
    }

    /// Lets calls that are under way end and refuses new ones.
    func close() {
        let current = self.state.withLockedValue { state -> Connection? in
            state.isClosed = true
            defer { state.current = nil }
            return state.current
        }
        self.continuation.finish()
        current?.client.beginGracefulShutdown()
    }

    /// The connection for a new call.
    ///
    /// - Throws: ``BrokerError`` `noCredentials`, `stopped`.
    func connection() throws(BrokerError) -> Connection {
        let svid: X509SVID
        do { svid = try self.source.x509SVID() } catch {
            throw BrokerError(
                .noCredentials, "this broker has no X509-SVID to show: \(error)", cause: error)
        }
        let (result, replaced) = self.state.withLockedValue {
            state -> (Result<Connection, BrokerError>, Connection?) in
            do throws(BrokerError) {
                let old = state.current
                let connection = try self.connection(svid, &state)
                return (.success(connection), old === connection ? nil : old)
            } catch {
                return (.failure(error), nil)
            }
        }
        // Its streams go on; new ones are opened on the new connection.
        replaced?.client.beginGracefulShutdown()
        return try result.get()
    }

    private func connection(
        _ svid: X509SVID, _ state: inout State
    ) throws(BrokerError) -> Connection {
        if state.isClosed { throw BrokerError(.stopped, "the Broker API client has ended") }
        if state.refused == svid {
            throw BrokerError(
                .noCredentials,
                "the server did not accept this broker's X509-SVID, and there is no newer one yet")
        }
        if let current = state.current, current.svid == svid { return current }
        let connection: Connection
        do { connection = try self.make(svid) } catch {
            throw BrokerError(
                .failed, "cannot make a connection to \(self.address)", cause: error)
        }
        state.current = connection
        self.continuation.yield(connection.client)
        return connection
    }

    /// The server answered UNAUTHENTICATED: its connection is left, its certificate not shown again.
    func refused(_ connection: Connection) {
        let isCurrent = self.state.withLockedValue { state in
            state.refused = connection.svid
            guard state.current === connection else { return false }
            state.current = nil
            return true
        }
        if isCurrent { connection.client.beginGracefulShutdown() }
    }

    private func make(_ svid: X509SVID) throws -> Connection {
        let refused = NIOLockedValueBox<String?>(nil)
        let verifier = self.verifier
        let target: any ResolvableTarget =
            switch self.address.endpoint {
            // The path would be the default authority, which HTTP/2 does not allow.
            case .unix(let path): .unixDomainSocket(path: path, authority: "localhost")
            case .ipv4(let host, let port): .ipv4(address: host, port: port)
            case .ipv6(let host, let port): .ipv6(address: host, port: port)
            case .name(let host, let port): .dns(host: host, port: port)
            }
        let configure = { (tls: inout HTTP2ClientTransport.Posix.TransportSecurity.TLS) in
            // The server is known by its SPIFFE ID alone.
            tls.serverCertificateVerification = .noHostnameVerification
            tls.trustRoots = .certificates([])
            tls.customVerificationCallback = { certificates, promise in
                let verified = promise.futureResult.eventLoop.makePromise(
                    of: NIOSSLVerificationResult.self)
                let verify = verifier.callback(
                    onVerified: { _ in refused.withLockedValue { $0 = nil } },
                    onRefused: { error in refused.withLockedValue { $0 = "\(error)" } })
                verify(certificates, verified)
                verified.futureResult.whenComplete { result in
                    switch result {
                    case .success(.certificateVerified):
                        promise.succeed(.certificateVerified(VerificationMetadata(nil)))
                    case .success(.failed): promise.succeed(.failed)
                    case .failure(let error): promise.fail(error)
                    }
                }
            }
        }
        let transport = try HTTP2ClientTransport.Posix(
            target: target,
            transportSecurity: .mTLS(
                certificateChain: svid.certificateChainDER.map { .bytes($0, format: .der) },
                privateKey: .bytes(svid.privateKeyDER, format: .der), configure: configure),
            config: .defaults {
                $0.backoff.initial = self.configuration.firstBackOff
                $0.backoff.max = self.configuration.longestBackOff
                $0.connection.flushCoalescing = nil
            })
        return Connection(GRPCClient(transport: transport), svid, refused: refused)
    }
}
