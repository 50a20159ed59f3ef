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

    enum Outcome: Sendable {
        case renewed(AgentIdentity)
        case ended
        case failed(ServerFailure)
        case cancelled
    }

    /// The two names under which the agent's key is kept, used in turn, so that the old key is
    /// there until the new SVID is.
    static let keyIDs = ["agent-svid-A", "agent-svid-B"]

    let settings: Settings
    let server: any ServerConnection
    let keyManager: any KeyManager
    let keeper: AgentStateKeeper
    let identities: WorkloadIdentities
    let logger: Logger
    let events: (any AgentEvents)?
    let now: @Sendable () -> Date
    let taint = NIOLockedValueBox(Taint())

    struct Taint {
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
        self.keeper = AgentStateKeeper(store, logger: logger)
        self.identities = identities
        self.logger = logger
        self.events = events
        self.now = now
    }

    /// The agent's own SVID chain as of now, in DER, leaf first; empty while it has none.
    package var chain: [[UInt8]] { self.keeper.state.chain }

    /// The agent's own identity as of now, with its key; nil while it has none.
    package var identity: AgentIdentity? { self.keeper.identity }

    /// Stores the trust domain's authorities when they have changed, and has the agent's SVID renewed when its own
    /// was tainted.
    package func bundleChanged(_ bundle: AgentBundle) {
        let tainted = bundle.taintedKeyIDs
        self.taint.withLockedValue { $0.keyIDs = tainted }
        if self.keeper.learn(bundle.x509Authorities.map(\.der)) { self.keeper.save() }
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
        self.keeper.use(identity)
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
                // The server has just answered: the next session is not to wait as after failures.
                backOff.reset()
                failures = 0
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
            self.keeper.forgetIdentity()
            return nil
        case .mustReattest:
            self.keeper.forgetIdentity()
            return nil
        case .unavailable, .untrusted, .denied, .agentExpired:
            if identity.expiresAt > self.now(), failure.code != .agentExpired { return identity }
            self.logger.error(
                "the agent's SVID has expired; it must attest again",
                metadata: [LogKeys.agentID: "\(identity.id)"])
            self.keeper.forgetIdentity()
            return nil
        }
    }

    /// How the server is recognised: by the trust domain's authorities, once they are known.
    var trust: ServerTrust {
        if self.keeper.state.bundle.isEmpty { return self.settings.bootstrap }
        return .authorities { [keeper] in keeper.state.bundle }
    }
}
