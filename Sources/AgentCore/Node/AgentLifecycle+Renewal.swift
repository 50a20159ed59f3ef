import Logging
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

// How the agent's SVID is replaced in time, and at once when it must be.
extension AgentLifecycle {
    /// Waits until the SVID is to be renewed, and renews it; ends the session when the server will not.
    func renewWhenDue(_ identity: AgentIdentity) async -> Outcome {
        let due = self.settings.rotation.rotationDate(
            notBefore: identity.notBefore, notAfter: identity.expiresAt,
            jitter: Double.random(in: 0..<1))
        var backOff = BackOff(first: .seconds(1), longest: .seconds(60))
        do {
            try await self.waitUntilDue(identity, at: due)
            while true {
                do {
                    let renewed = try await self.renew(identity)
                    if self.isTainted(renewed) {
                        self.logger.error(
                            "the server signed the agent's SVID with a tainted authority",
                            metadata: [LogKeys.agentID: "\(renewed.id)"])
                        // Not again and again at full speed.
                        try await Task.sleep(for: .seconds(60))
                    }
                    return .renewed(renewed)
                } catch let failure as ServerFailure
                    where failure.code != .unavailable && failure.code != .untrusted
                {
                    // What was taken back and is not replaced is as good as a ban.
                    if self.identities.isRevoked(identity) {
                        return .failed(
                            ServerFailure(
                                .agentNotActive, "the agent's SVID was revoked: \(failure.message)")
                        )
                    }
                    return .failed(failure)
                } catch {
                    try Task.checkCancellation()
                    let wait = backOff.next()
                    self.logger.warning(
                        "cannot renew the agent's SVID",
                        metadata: [LogKeys.error: "\(error)", LogKeys.retryIn: "\(wait.logText)"])
                    try await Task.sleep(for: wait)
                }
            }
        } catch {
            return .cancelled
        }
    }

    private func isTainted(_ identity: AgentIdentity) -> Bool {
        guard let keyID = identity.authorityKeyID else { return false }
        return self.taint.withLockedValue { $0.keyIDs.contains(keyID) }
    }

    private func mustBeReplaced(_ identity: AgentIdentity) -> Bool {
        self.isTainted(identity) || self.identities.isRevoked(identity)
    }

    /// Waits until the SVID is to be renewed, because of its age, because its authority was tainted or because it was
    /// revoked.
    private func waitUntilDue(_ identity: AgentIdentity, at due: Date) async throws {
        let (taints, changed) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.taint.withLockedValue { $0.changed = changed }
        defer { self.taint.withLockedValue { $0.changed = nil } }
        // Asked after the way to be woken is there, so that nothing is missed in between.
        if self.mustBeReplaced(identity) { return }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                // In steps, because the wall clock may be set while we sleep.
                while due > self.now() {
                    try await Task.sleep(
                        for: .seconds(min(due.timeIntervalSince(self.now()) + 0.01, 3600)))
                }
            }
            group.addTask {
                for await _ in taints where self.mustBeReplaced(identity) {
                    self.logger.info(
                        self.isTainted(identity)
                            ? "the authority of the agent's SVID is tainted; renewing it"
                            : "the agent's SVID was revoked; renewing it")
                    return
                }
                // The stream ends by cancellation only.
                throw CancellationError()
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Gets an SVID for a new key. The new key is on disk before the server hears of it, and the
    /// new SVID is on disk before the old one is forgotten; until its first use the server accepts
    /// the old one too.
    private func renew(_ identity: AgentIdentity) async throws -> AgentIdentity {
        let keyID = Self.keyIDs.first { $0 != identity.key.id } ?? Self.keyIDs[0]
        let key = try await self.keyManager.generateKey(id: keyID, type: .ecP256)
        let chain = try await self.server.renew(identity, newKey: key, trust: self.trust)
        let renewed = try AgentIdentity(chain: chain, key: key)
        try self.keeper.keep(renewed, canReattest: self.keeper.state.canReattest)
        self.logger.info(
            "renewed the agent's SVID",
            metadata: [LogKeys.agentID: "\(renewed.id)", LogKeys.expiresAt: "\(renewed.expiresAt)"])
        self.events?.record(.renewed(agentID: renewed.id, expiresAt: renewed.expiresAt))
        return renewed
    }
}
