import Logging
import PluginAPI
import SPIFFE

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

// How the agent comes to an identity: the one from before, or by attesting.
extension AgentLifecycle {
    /// The stored identity, if its key is there and it has more than a second to live.
    func restore() async throws -> AgentIdentity? {
        guard let stored = try self.keeper.load() else { return nil }
        if !stored.bundle.isEmpty {
            let authorities = stored.bundle.map { AgentBundle.X509Authority(der: $0) }
            self.identities.receive(
                .bundles(
                    BundleChange(upserted: [
                        AgentBundle(
                            trustDomain: self.settings.trustDomain, x509Authorities: authorities)
                    ])))
        }
        if stored.chain.isEmpty { return nil }
        for keyID in Self.keyIDs {
            guard let key = try await self.keyManager.key(id: keyID),
                let identity = try? AgentIdentity(chain: stored.chain, key: key),
                identity.id.trustDomain == self.settings.trustDomain
            else { continue }
            guard identity.expiresAt > self.now().addingTimeInterval(1) else {
                self.logger.warning(
                    "the stored agent SVID has expired",
                    metadata: [LogKeys.agentID: "\(identity.id)"])
                return nil
            }
            return identity
        }
        self.logger.warning("the stored agent SVID is of no use: its key is missing")
        return nil
    }

    /// Tries until it succeeds; nil only when the task is cancelled.
    func attest() async -> AgentIdentity? {
        var backOff = self.settings.attestation
        while !Task.isCancelled {
            var problem: String
            do {
                if let token = self.settings.joinToken() {
                    return try await self.attest(with: token)
                }
                problem = "there is no join token; make one with \"token generate\" on the server"
            } catch {
                if Task.isCancelled { return nil }
                problem = "\(error)"
            }
            let wait = backOff.next()
            self.logger.error(
                "agent is not attested",
                metadata: [LogKeys.error: "\(problem)", LogKeys.retryIn: "\(wait.logText)"])
            do { try await Task.sleep(for: wait) } catch { return nil }
        }
        return nil
    }

    private func attest(with token: String) async throws -> AgentIdentity {
        let key = try await self.keyManager.generateKey(id: Self.keyIDs[0], type: .ecP256)
        let result = try await self.server.attest(joinToken: token, key: key, trust: self.trust)
        let identity = try AgentIdentity(chain: result.chain, key: key)
        guard identity.id.trustDomain == self.settings.trustDomain else {
            throw AgentError(
                .badIssuance,
                "agent SVID refused: it is for \(identity.id), outside \(self.settings.trustDomain)"
            )
        }
        guard result.bundle.trustDomain == self.settings.trustDomain,
            !result.bundle.x509Authorities.isEmpty
        else { throw AgentError(.badIssuance, "the server sent no bundle for this trust domain") }
        self.keeper.learn(result.bundle.x509Authorities.map(\.der))
        try self.keeper.keep(identity, canReattest: result.canReattest)
        self.identities.receive(.bundles(BundleChange(upserted: [result.bundle])))
        self.logger.info(
            "attested this node",
            metadata: [
                LogKeys.agentID: "\(identity.id)", LogKeys.expiresAt: "\(identity.expiresAt)",
            ])
        self.events?.record(.attested(agentID: identity.id, expiresAt: identity.expiresAt))
        return identity
    }
}
