package import Logging
import NIOConcurrencyHelpers
package import PluginAPI
package import SPIFFE

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// The agent's own identity through its life: stored, attested, renewed, lost; and the session with
/// the server that rests on it.
///
/// Never ends for want of an identity: it keeps trying, says why, and the workloads go on with what
/// the agent holds. Only a missing way to attest at all is an error, and only at the start.
package final class AgentLifecycle: Sendable {
    package struct Settings: Sendable {
        package var trustDomain: TrustDomain
        /// How the server is recognised before the agent knows its trust domain's bundle.
        package var bootstrap: ServerTrust
        /// The join token, asked for at every attempt; nil when there is none.
        package var joinToken: @Sendable () -> String?
        package var rotation = RotationPolicy()
        package var reconnect = BackOff(first: .milliseconds(200), longest: .seconds(5))
        package var attestation = BackOff(first: .seconds(1), longest: .seconds(60))

        package init(
            trustDomain: TrustDomain, bootstrap: ServerTrust,
            joinToken: @escaping @Sendable () -> String? = { nil }
        ) {
            self.trustDomain = trustDomain
            self.bootstrap = bootstrap
            self.joinToken = joinToken
        }
    }

    private enum Outcome: Sendable {
        case renewed(AgentIdentity)
        case ended
        case failed(ServerFailure)
        case cancelled
    }

    /// The two names under which the agent's key is kept, used in turn, so that the old key is
    /// there until the new SVID is.
    static let keyIDs = ["agent-svid-A", "agent-svid-B"]

    private let settings: Settings
    private let server: any ServerConnection
    private let keyManager: any KeyManager
    private let store: any AgentStateStore
    private let identities: WorkloadIdentities
    private let logger: Logger
    private let events: (any AgentEvents)?
    private let now: @Sendable () -> Date
    /// Held while the state is written.
    private let saving = NIOLockedValueBox<Void>(())
    private let state: NIOLockedValueBox<AgentState>
    private let current = NIOLockedValueBox<AgentIdentity?>(nil)
    private let taint = NIOLockedValueBox(Taint())

    private struct Taint {
        /// Key IDs of the tainted authorities of our own trust domain.
        var keyIDs: Set<[UInt8]> = []
        /// Woken when there are more; set while an SVID is waited for to become due.
        var changed: AsyncStream<Void>.Continuation?
    }

    package init(
        settings: Settings, server: any ServerConnection, keyManager: any KeyManager,
        store: any AgentStateStore, identities: WorkloadIdentities, logger: Logger,
        events: (any AgentEvents)? = nil, now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.settings = settings
        self.server = server
        self.keyManager = keyManager
        self.store = store
        self.identities = identities
        self.logger = logger
        self.events = events
        self.now = now
        self.state = NIOLockedValueBox(AgentState())
    }

    /// The agent's own SVID chain as of now, in DER, leaf first; empty while it has none.
    package var chain: [[UInt8]] { self.state.withLockedValue { $0.chain } }

    /// The agent's own identity as of now, with its key; nil while it has none.
    package var identity: AgentIdentity? { self.current.withLockedValue { $0 } }

    /// Stores the trust domain's authorities when they have changed, and has the agent's SVID renewed when its own
    /// was tainted.
    package func bundleChanged(_ bundle: AgentBundle) {
        let tainted = bundle.taintedKeyIDs
        self.taint.withLockedValue { $0.keyIDs = tainted }
        let authorities = bundle.x509Authorities.map(\.der)
        let isChanged = self.state.withLockedValue { state in
            if state.bundle == authorities { return false }
            state.bundle = authorities
            return true
        }
        if isChanged { self.save() }
        // Last: the renewal saves too.
        if !tainted.isEmpty { self.taint.withLockedValue { _ = $0.changed?.yield() } }
    }

    /// Other SVIDs of the trust domain are taken back: the agent's own, if it is among them, is renewed at once.
    package func revocationsChanged() {
        self.taint.withLockedValue { _ = $0.changed?.yield() }
    }

    /// Runs until the task is cancelled.
    ///
    /// - Throws: ``AgentError``: `noWayToAttest` when there is neither a usable stored identity nor
    ///   a join token; `state` when the stored state cannot be read.
    package func run() async throws {
        var identity = try await self.restore()
        self.current.withLockedValue { [identity] in $0 = identity }
        if identity == nil, self.settings.joinToken() == nil {
            throw AgentError(
                .noWayToAttest,
                "agent has no stored SVID and no join token; "
                    + "make one on the server with \"token generate\" and start again with -joinToken"
            )
        }
        var backOff = self.settings.reconnect
        var failures = 0
        while !Task.isCancelled {
            guard let current = identity else {
                identity = await self.attest()
                continue
            }
            let started = ContinuousClock.now
            let outcome = await self.session(current)
            if case .renewed(let renewed) = outcome {
                self.identities.disconnected(reason: "reconnecting with the renewed agent SVID")
                identity = renewed
                continue
            }
            if case .cancelled = outcome { break }
            // A session that held for a while was a success: start over with short waits.
            if started.duration(to: .now) > .seconds(10) {
                backOff.reset()
                failures = 0
            }
            let wait = backOff.next()
            // Said at once and then now and then: about once a minute.
            let level: Logger.Level = failures % 15 == 0 ? .warning : .debug
            failures += 1
            identity = self.afterSession(outcome, current, retryIn: wait, level)
            try? await Task.sleep(for: wait)
        }
    }

    // MARK: Session

    /// Keeps the session up and the agent's SVID fresh, whichever ends first.
    private func session(_ identity: AgentIdentity) async -> Outcome {
        await withTaskGroup(of: Outcome.self) { group in
            group.addTask {
                do {
                    try await self.server.synchronise(
                        as: identity, trust: self.trust, session: self.identities)
                    return .ended
                } catch let failure as ServerFailure {
                    return .failed(failure)
                } catch {
                    return Task.isCancelled
                        ? .cancelled : .failed(ServerFailure(.unavailable, "\(error)"))
                }
            }
            group.addTask { await self.renewWhenDue(identity) }
            let first = await group.next() ?? .cancelled
            group.cancelAll()
            return Task.isCancelled ? .cancelled : first
        }
    }

    /// What a session's end means for the identity.
    private func afterSession(
        _ outcome: Outcome, _ identity: AgentIdentity, retryIn wait: Duration, _ level: Logger.Level
    ) -> AgentIdentity? {
        let failure: ServerFailure
        switch outcome {
        case .failed(let reason): failure = reason
        case .ended, .renewed, .cancelled:
            failure = ServerFailure(.unavailable, "the server ended the session")
        }
        self.identities.disconnected(reason: failure.message)
        let counts = self.identities.counts
        self.logger.log(
            level: level, "no connection to the server; workloads are served what is held",
            metadata: [
                LogKeys.reason: "\(failure.message)", LogKeys.retryIn: "\(wait.logText)",
                LogKeys.heldSVIDs: "\(counts.x509SVIDs)",
            ])
        switch failure.code {
        case .agentBanned, .agentNotAttested, .agentNotActive:
            self.logger.error(
                "the server took this agent's identity back; workloads are refused until it attests again",
                metadata: [LogKeys.agentID: "\(identity.id)", LogKeys.reason: "\(failure.message)"])
            self.identities.suspend(.notAttested)
            self.forgetIdentity()
            return nil
        case .mustReattest:
            self.forgetIdentity()
            return nil
        case .unavailable, .untrusted, .denied, .agentExpired:
            if identity.expiresAt > self.now(), failure.code != .agentExpired { return identity }
            self.logger.error(
                "the agent's SVID has expired; it must attest again",
                metadata: [LogKeys.agentID: "\(identity.id)"])
            self.forgetIdentity()
            return nil
        }
    }

    private func renewWhenDue(_ identity: AgentIdentity) async -> Outcome {
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
        try self.keep(renewed, canReattest: self.state.withLockedValue { $0.canReattest })
        self.logger.info(
            "renewed the agent's SVID",
            metadata: [LogKeys.agentID: "\(renewed.id)", LogKeys.expiresAt: "\(renewed.expiresAt)"])
        self.events?.record(.renewed(agentID: renewed.id, expiresAt: renewed.expiresAt))
        return renewed
    }

    // MARK: Attestation

    /// Tries until it succeeds; nil only when the task is cancelled.
    private func attest() async -> AgentIdentity? {
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
        self.state.withLockedValue { $0.bundle = result.bundle.x509Authorities.map(\.der) }
        try self.keep(identity, canReattest: result.canReattest)
        self.identities.receive(.bundles(BundleChange(upserted: [result.bundle])))
        self.logger.info(
            "attested this node",
            metadata: [
                LogKeys.agentID: "\(identity.id)", LogKeys.expiresAt: "\(identity.expiresAt)",
            ])
        self.events?.record(.attested(agentID: identity.id, expiresAt: identity.expiresAt))
        return identity
    }

    // MARK: State

    private var trust: ServerTrust {
        if self.state.withLockedValue({ $0.bundle.isEmpty }) { return self.settings.bootstrap }
        return .authorities { [state] in state.withLockedValue { $0.bundle } }
    }

    /// The stored identity, if its key is there and it has more than a second to live.
    private func restore() async throws -> AgentIdentity? {
        guard let stored = try self.store.load() else { return nil }
        self.state.withLockedValue { $0 = stored }
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

    private func keep(_ identity: AgentIdentity, canReattest: Bool) throws {
        self.current.withLockedValue { $0 = identity }
        self.state.withLockedValue { state in
            state.chain = identity.chain
            state.canReattest = canReattest
        }
        try self.saveNow()
    }

    private func forgetIdentity() {
        self.current.withLockedValue { $0 = nil }
        self.state.withLockedValue { $0.chain = [] }
        self.save()
    }

    /// One at a time, each with the newest state: of two at once the older could come to stand last.
    private func saveNow() throws {
        try self.saving.withLockedValue { _ in
            try self.store.save(self.state.withLockedValue { $0 })
        }
    }

    private func save() {
        do { try self.saveNow() } catch {
            self.logger.error(
                "cannot store the agent's state", metadata: [LogKeys.error: "\(error)"])
        }
    }
}
