public import NIOCore
public import NIOSSL
public import SPIFFE

/// Decides in a TLS handshake whether the peer is who it says and may talk to us.
///
/// Takes the place of all verification that NIOSSL would do: host names and the machine's trust store
/// play no part. The chain must be an X509-SVID that its trust domain vouches for, and the authorizer
/// must let its SPIFFE ID in.
public struct TLSPeerVerifier: Sendable {
    private let verifier: X509SVIDVerifier
    private let authorizer: Authorizer
    /// Nil when connections are not closed.
    let connections: LiveConnections?

    /// - Parameters:
    ///   - bundles: Asked at each handshake.
    ///   - authorizer: Who may pass; has no default on purpose.
    ///   - revocation: What is done about SVIDs that were taken back.
    public init(
        bundles: any X509BundleSource, authorizer: Authorizer,
        revocation: RevocationPolicy = .standard
    ) {
        self.verifier = X509SVIDVerifier(bundles: bundles, revocation: revocation)
        self.authorizer = authorizer
        self.connections = LiveConnections(self.verifier.recheck)
    }

    /// A verification callback for one connection.
    ///
    /// - Parameters:
    ///   - channel: The connection, to be closed when the peer's SVID is taken back and the policy says so. Without it
    ///     the connection lives on.
    ///   - onVerified: Told who the peer is, on the event loop and *before* the peer has proven that it has
    ///     the key: in TLS 1.3 that proof comes next. Rely on it once the handshake has completed; no data
    ///     of the peer arrives earlier. Must not block.
    ///   - onRefused: Told why a peer was refused, or why its connection is closed later; the peer itself only
    ///     sees an alert, or that the connection ends.
    public func callback(
        for channel: (any Channel)? = nil,
        onVerified: (@Sendable (VerifiedX509SVID) -> Void)? = nil,
        onRefused: (@Sendable (any Error) -> Void)? = nil
    ) -> NIOSSLCustomVerificationCallback {
        { certificates, promise in
            do {
                let chain = try certificates.map { try $0.toDERBytes() }
                switch try self.verifier.verifyPath(chainDER: chain) {
                case .verified(let verified):
                    try self.authorizer.authorize(verified.id)
                    onVerified?(verified)
                    self.watch(channel, verified, onRefused)
                    promise.succeed(.certificateVerified)
                case .namesToCheck(let pending):
                    // The task belongs to the handshake: it ends with the promise, which the connection
                    // owns and fails with the channel; it does a bounded amount of work and no I/O.
                    promise.completeWithTask {
                        do {
                            let verified = try await pending.verified()
                            try self.authorizer.authorize(verified.id)
                            onVerified?(verified)
                            self.watch(channel, verified, onRefused)
                            return .certificateVerified
                        } catch {
                            onRefused?(error)
                            throw error
                        }
                    }
                }
            } catch {
                onRefused?(error)
                promise.fail(error)
            }
        }
    }

    private func watch(
        _ channel: (any Channel)?, _ peer: VerifiedX509SVID,
        _ onRefused: (@Sendable (any Error) -> Void)?
    ) {
        guard let channel else { return }
        self.connections?.add(channel, peer, onRevoked: onRefused)
    }
}
