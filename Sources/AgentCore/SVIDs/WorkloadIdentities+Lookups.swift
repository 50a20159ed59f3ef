import NIOConcurrencyHelpers
package import SPIFFE

/// What the agent holds at the moment, for whoever asks.
extension WorkloadIdentities {
    /// The bundles a workload may verify others with.
    ///
    /// - Throws: ``WorkloadRefusal`` before the first synchronisation.
    package func bundles(_ selectors: Set<Selector>) throws(WorkloadRefusal) -> [AgentBundle] {
        let found: Result<[AgentBundle], WorkloadRefusal> = self.state.withLockedValue { state in
            do throws(WorkloadRefusal) { return .success(try state.cache.bundles(selectors)) } catch
            {
                return .failure(error)
            }
        }
        return try found.get()
    }

    /// The entry that came closest to matching; for the log only.
    package func nearestEntry(to selectors: Set<Selector>) -> EntrySet.NearMiss? {
        let entries = self.state.withLockedValue { $0.cache.entries }
        return entries.nearest(to: selectors)
    }

    /// The bundle of the agent's own trust domain; nil when it is not held yet.
    package var ownBundle: AgentBundle? { self.state.withLockedValue { $0.cache.bundles.own } }

    /// The bundle of a trust domain, our own or one that an entry federates with; nil when it is not held.
    package func bundle(of trustDomain: TrustDomain) -> AgentBundle? {
        self.state.withLockedValue { $0.cache.bundles[trustDomain] }
    }

    /// A trust domain's CertificateLists as the server sent them, verified, in DER.
    package func crls(of trustDomain: TrustDomain) -> [[UInt8]] {
        self.state.withLockedValue { $0.cache.crls([trustDomain]) }
    }

    /// Whether a JWT- or WIT-SVID of our own trust domain was taken back.
    package func isRevoked(token: String) -> Bool {
        self.state.withLockedValue { $0.cache.isRevoked(token: token) }
    }

    /// A status list as the server sent it: a signed token that nobody has checked; nil when there is none.
    package func statusList(_ uri: String, of trustDomain: TrustDomain) -> String? {
        self.state.withLockedValue { $0.cache.revocations[trustDomain]?.statusLists[uri] }
    }

    /// The status lists of a trust domain by their names, as the server sent them: signed tokens that nobody has checked.
    package func statusLists(of trustDomain: TrustDomain) -> [String: String] {
        self.state.withLockedValue { $0.cache.revocations[trustDomain]?.statusLists ?? [:] }
    }

    /// Whether the agent's own SVID was taken back.
    func isRevoked(_ identity: AgentIdentity) -> Bool {
        self.state.withLockedValue { state in
            state.cache.revocations.isRevoked(
                identity.revocationName, of: state.cache.trustDomain)
        }
    }

    /// Whether entries and the own bundle have come once since the start.
    package var isSynchronised: Bool { self.state.withLockedValue { $0.cache.isSynchronised } }

    /// Whether a session with the server is open.
    package var isConnected: Bool { self.state.withLockedValue { $0.cache.isConnected } }

    /// Numbers for the debug service and the log.
    package var counts: (entries: Int, x509SVIDs: Int, jwtSVIDs: Int, streams: Int) {
        self.state.withLockedValue {
            ($0.cache.entries.count, $0.cache.x509SVIDCount, $0.jwt.count, $0.cache.subscriberCount)
        }
    }
}
