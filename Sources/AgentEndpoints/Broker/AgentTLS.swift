import AgentCore
import PluginAPI
import SPIFFE
import SwiftASN1
import X509

/// The agent's own identity, and the bundles that it holds, for TLS between it and brokers. Asked at each
/// handshake, so that renewals count at once.
struct AgentTLS: X509SVIDSource, X509BundleSource {
    private let lifecycle: AgentLifecycle
    private let identities: WorkloadIdentities

    init(_ lifecycle: AgentLifecycle, _ identities: WorkloadIdentities) {
        self.lifecycle = lifecycle
        self.identities = identities
    }

    /// The agent's SVID.
    ///
    /// - Throws: ``AgentError`` `noWayToAttest` while the agent has none; `X509SVIDError`.
    func x509SVID() throws -> X509SVID {
        guard let identity = self.lifecycle.identity else {
            throw AgentError(.noWayToAttest, "the agent has no identity of its own")
        }
        return try X509SVID(
            certificates: identity.chain,
            privateKeyPKCS8DER: try identity.key.privateKey.serializeAsPEM().derBytes)
    }

    /// Our own trust domain's bundle, and those that entries of this node federate with.
    func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        guard let bundle = self.identities.bundle(of: trustDomain) else { return nil }
        return try? X509Bundle(
            trustDomain: trustDomain, authoritiesDER: bundle.x509Authorities.map(\.der))
    }
}
