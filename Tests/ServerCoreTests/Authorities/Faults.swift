import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import ServerCore
import ServerTestSupport
import Transparency

/// Breaks one write of a run: of the key manager, the records, the journal or the bundles, counted together.
final class Faults: Sendable {
    /// What a write that throws has done.
    enum Form: Sendable, CaseIterable {
        case failed
        case failedButStored
    }

    /// What comes after it.
    enum Aftermath: Sendable, CaseIterable {
        /// The process is gone: no later write does anything.
        case crash
        /// The next write works again.
        case recovery
    }

    private struct State {
        var count = 0
        var isBroken = false
    }

    let number: Int
    let form: Form
    let aftermath: Aftermath
    private let state = NIOLockedValueBox(State())

    /// - Parameter number: which write breaks, from 1; 0 for none.
    init(_ number: Int = 0, _ form: Form = .failed, _ aftermath: Aftermath = .crash) {
        self.number = number
        self.form = form
        self.aftermath = aftermath
    }

    /// Whether the run got as far as the write that breaks.
    var hasBroken: Bool { self.state.withLockedValue { $0.isBroken } }

    func write<Result: Sendable>(
        _ body: @Sendable () async throws -> Result
    ) async throws -> Result {
        let failure = ServerError(.unavailable, "write \(self.number) is broken")
        let (breaks, isGone) = self.state.withLockedValue { state in
            if state.isBroken, self.aftermath == .crash { return (false, true) }
            state.count += 1
            if state.count == self.number { state.isBroken = true }
            return (state.count == self.number, false)
        }
        if isGone { throw failure }
        guard breaks else { return try await body() }
        if self.form == .failedButStored { _ = try await body() }
        throw failure
    }
}

struct FaultyStore: BundleStore, JournalStore {
    let store: MemoryStore
    let faults: Faults

    func updateBundle(
        _ trustDomain: TrustDomain, _ transform: @escaping @Sendable (inout TrustBundle) -> Void
    ) async throws -> TrustBundle {
        try await self.faults.write {
            try await self.store.updateBundle(trustDomain, transform)
        }
    }

    func writeBundle(
        _ trustDomain: TrustDomain, requiring relationship: FederationRelationship?,
        _ rule: @escaping @Sendable (TrustBundle?) throws(ServerError) -> TrustBundle?
    ) async throws -> TrustBundle? {
        try await self.faults.write {
            try await self.store.writeBundle(trustDomain, requiring: relationship, rule)
        }
    }

    func deleteBundle(
        _ trustDomain: TrustDomain, mode: BundleDeletionMode
    ) async throws -> BundleDeletion {
        try await self.faults.write { try await self.store.deleteBundle(trustDomain, mode: mode) }
    }

    func loadJournal() async throws -> [JournalEntry] { try await self.store.loadJournal() }

    func saveJournal(_ entries: [JournalEntry]) async throws {
        try await self.faults.write { try await self.store.saveJournal(entries) }
    }
}

struct FaultyKeyManager: KeyManager {
    let keys: any KeyManager
    let faults: Faults

    func generateKey(id: String, type: KeyType) async throws -> ManagedKey {
        try await self.faults.write { try await self.keys.generateKey(id: id, type: type) }
    }

    func key(id: String) async throws -> ManagedKey? { try await self.keys.key(id: id) }
    func keyIDs() async throws -> [String] { try await self.keys.keyIDs() }

    func deleteKey(id: String) async throws {
        try await self.faults.write { try await self.keys.deleteKey(id: id) }
    }
}

struct FaultyRecorder: EventRecorder {
    let recorder: MemoryRecorder
    let faults: Faults

    func append(_ events: [LeafEvent]) async throws {
        try await self.faults.write { try await self.recorder.append(events) }
    }

    func enqueue(_ events: [LeafEvent]) { self.recorder.enqueue(events) }
}
