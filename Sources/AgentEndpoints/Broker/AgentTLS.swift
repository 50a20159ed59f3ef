import AgentCore
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import SwiftASN1
import X509

/// The agent's own identity, and the bundles that it holds, for TLS between it and brokers. Asked at each
/// handshake, so that renewals count at once.
struct AgentTLS: X509SVIDSource, X509BundleSource, RevocationSource {
    private let lifecycle: AgentLifecycle
    private let identities: WorkloadIdentities
    private let observers: RevocationObservers
    /// What was made of a trust domain's lists, and of which: each is read and verified once.
    private let known = NIOLockedValueBox<
        [TrustDomain: (lists: [[UInt8]], revocations: TrustDomainRevocations)]
    >([:])

    /// - Parameter observers: Told of each change of what was taken back.
    init(
        _ lifecycle: AgentLifecycle, _ identities: WorkloadIdentities,
        _ observers: RevocationObservers
    ) {
        self.lifecycle = lifecycle
        self.identities = identities
        self.observers = observers
    }

    /// Which brokers were taken back, as the server said last; nil where it says nothing.
    func revocations(for trustDomain: TrustDomain) -> TrustDomainRevocations? {
        let lists = self.identities.crls(of: trustDomain)
        guard !lists.isEmpty else { return nil }
        if let (held, made) = self.known.withLockedValue({ $0[trustDomain] }), held == lists {
            return made
        }
        let made = TrustDomainRevocations(
            trustDomain: trustDomain,
            certificateLists: lists.compactMap { try? CertificateRevocationList(der: $0) })
        self.known.withLockedValue { $0[trustDomain] = (lists, made) }
        return made
    }

    func observeRevocations(_ onChange: @escaping @Sendable () -> Void) -> RevocationObservation? {
        self.observers.add(onChange)
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
