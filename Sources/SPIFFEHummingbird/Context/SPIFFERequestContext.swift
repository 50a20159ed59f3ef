public import Hummingbird
public import SPIFFE

/// A request context that knows who sent the request.
///
/// Take ``BasicSPIFFERequestContext``, or give a context of one's own a ``SPIFFECaller`` made in its initialiser:
///
/// ```swift
/// struct AppContext: SPIFFERequestContext {
///     var coreContext: CoreRequestContextStorage
///     var caller: SPIFFECaller
///
///     init(source: Source) {
///         self.coreContext = .init(source: source)
///         self.caller = SPIFFECaller()
///     }
/// }
/// ```
public protocol SPIFFERequestContext: RequestContext {
    /// Who sent the request, made by ``SPIFFECaller/init()`` in the initialiser.
    var caller: SPIFFECaller { get set }
}

extension SPIFFERequestContext {
    /// Who is at the other end of the connection, by mutual TLS; nil for a client without certificate and in a server
    /// that was not made by ``HummingbirdCore/HTTPServerBuilder/spiffe(svid:bundles:authorizer:clientCertificate:configuration:idleTimeout:handshakeTimeout:revocation:onRefused:)``.
    public var peerSPIFFEID: SPIFFEID? { self.caller.x509SVID?.id }

    /// Whom the request's token speaks for; nil before and without ``JWTSVIDMiddleware``.
    public var jwtSVID: JWTSVID? { self.caller.jwtSVID }

    /// Who sent the request, by a WIT-SVID with proof; nil before and without ``WITSVIDMiddleware``. Incubating.
    public var witSVID: ProvenWITSVID? { self.caller.witSVID }

    /// Who is at the other end of the connection, for handlers that have no use for somebody unknown.
    ///
    /// - Throws: `HTTPError` 401 when ``peerSPIFFEID`` is nil.
    public func requirePeerSPIFFEID() throws -> SPIFFEID {
        guard let id = self.peerSPIFFEID else { throw HTTPError(.unauthorized) }
        return id
    }
}

/// Who sent a request, as far as it is known.
public struct SPIFFECaller: Sendable {
    /// The client's X509-SVID, verified in the handshake of the request's connection.
    public let x509SVID: VerifiedX509SVID?
    /// The token of the request, checked by ``JWTSVIDMiddleware``.
    public internal(set) var jwtSVID: JWTSVID?
    /// The WIT-SVID that the sender has proved to own, checked by ``WITSVIDMiddleware``. Incubating.
    public internal(set) var witSVID: ProvenWITSVID?
    /// Whether the request came over TLS that this module has set up.
    let isOverTLS: Bool

    /// The caller of the request that is being handled. To be called in the initialiser of a context: elsewhere nobody
    /// is known.
    public init() {
        self.x509SVID = ConnectionPeer.current?.svid
        self.jwtSVID = nil
        self.witSVID = nil
        self.isOverTLS = ConnectionPeer.current != nil
    }
}

/// A context with who sent the request, and nothing else.
public struct BasicSPIFFERequestContext: SPIFFERequestContext {
    /// What Hummingbird keeps.
    public var coreContext: CoreRequestContextStorage
    /// Who sent the request.
    public var caller: SPIFFECaller

    /// Made by Hummingbird for each request.
    public init(source: Source) {
        self.coreContext = .init(source: source)
        self.caller = SPIFFECaller()
    }
}
