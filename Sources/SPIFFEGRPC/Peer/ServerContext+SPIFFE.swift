public import GRPCCore
public import SPIFFE

extension ServerContext {
    /// The client's X509-SVID, verified in the TLS handshake of the call's connection.
    ///
    /// Nil under another transport than ``SPIFFEServerTransport``, on a Unix socket, and for a client that may come
    /// without certificate and did.
    public var peerX509SVID: VerifiedX509SVID? {
        if case .tls(let verified)? = self.peerContext?.peer { verified } else { nil }
    }

    /// Who called, by the client's X509-SVID; nil as ``peerX509SVID``.
    public var peerSPIFFEID: SPIFFEID? { self.peerX509SVID?.id }

    /// Who called, for handlers that have no use for a call of somebody unknown.
    ///
    /// - Throws: `RPCError` `unauthenticated` when ``peerSPIFFEID`` is nil.
    public func requirePeerSPIFFEID() throws(RPCError) -> SPIFFEID {
        guard let id = self.peerSPIFFEID else {
            throw RPCError(code: .unauthenticated, message: "the caller has no X509-SVID")
        }
        return id
    }

    /// The JWT-SVID that ``JWTSVIDServerInterceptor`` has checked; nil in a service without it.
    ///
    /// With mutual TLS as well, the token may speak for another than the client at the other end.
    public var callerJWTSVID: JWTSVID? {
        (self.transportSpecific as? JWTCallContext)?.svid
    }
}

/// What the interceptor adds to a call: the token's identity, and what the transport said before.
struct JWTCallContext: ServerContext.TransportSpecific {
    let svid: JWTSVID
    let transport: (any ServerContext.TransportSpecific)?
}
