import Logging
import NIOConcurrencyHelpers

/// What the agent knows of itself and of its trust domain's authorities, in memory and in the store.
///
/// The identity is the state's chain with its key. Every change is in memory before it is written.
final class AgentStateKeeper: Sendable {
    private let store: any AgentStateStore
    private let logger: Logger
    /// Held while the state is written.
    private let saving = NIOLockedValueBox<Void>(())
    private let known = NIOLockedValueBox(AgentState())
    private let current = NIOLockedValueBox<AgentIdentity?>(nil)

    init(_ store: any AgentStateStore, logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// As of now.
    var state: AgentState { self.known.withLockedValue { $0 } }

    /// The agent's identity as of now; nil while it has none.
    var identity: AgentIdentity? { self.current.withLockedValue { $0 } }

    /// Takes over what was stored; nil when nothing ever was.
    ///
    /// - Throws: ``AgentError`` `state`.
    func load() throws -> AgentState? {
        guard let stored = try self.store.load() else { return nil }
        self.known.withLockedValue { $0 = stored }
        return stored
    }

    /// Takes an identity as the agent's own that is stored already.
    func use(_ identity: AgentIdentity?) { self.current.withLockedValue { $0 = identity } }

    /// Takes over the trust domain's authorities, in DER, without storing them.
    ///
    /// - Returns: Whether they are others than before.
    @discardableResult
    func learn(_ authorities: [[UInt8]]) -> Bool {
        self.known.withLockedValue { state in
            if state.bundle == authorities { return false }
            state.bundle = authorities
            return true
        }
    }

    /// Takes a new identity as the agent's own, and stores everything.
    ///
    /// - Throws: ``AgentError`` `state`; what was stored before still is.
    func keep(_ identity: AgentIdentity, canReattest: Bool) throws {
        self.current.withLockedValue { $0 = identity }
        self.known.withLockedValue { state in
            state.chain = identity.chain
            state.canReattest = canReattest
        }
        try self.saveNow()
    }

    /// The agent has no identity any more.
    func forgetIdentity() {
        self.current.withLockedValue { $0 = nil }
        self.known.withLockedValue { $0.chain = [] }
        self.save()
    }

    /// Stores everything; the log says when that fails.
    func save() {
        do { try self.saveNow() } catch {
            self.logger.error(
                "cannot store the agent's state", metadata: [LogKeys.error: "\(error)"])
        }
    }

    /// One at a time, each with the newest state: of two at once the older could come to stand last.
    private func saveNow() throws {
        try self.saving.withLockedValue { _ in
            try self.store.save(self.state)
        }
    }
}
