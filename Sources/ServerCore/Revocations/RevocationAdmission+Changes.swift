import NIOConcurrencyHelpers

// What follows from a change of the revocations.
extension RevocationAdmission {
    /// Takes a change of the revocations; the directory calls it after it has applied the change itself.
    func apply(_ change: RevocationChange) {
        let now = self.unixNow
        let isChanged = self.state.withLockedValue { state -> Bool in
            switch change {
            case .upserted(let revocation):
                Self.enter(revocation, &state)
                return self.mark(revocation, in: &state, now: now)
            case .removed(let id):
                Self.leave(id, &state)
                return state.revoked.unmark(id, in: state.live)
            case .reloaded(let revocations):
                return self.reload(revocations, &state, now: now)
            }
        }
        if isChanged { self.notify() }
    }

    private static func enter(_ revocation: Revocation, _ state: inout State) {
        if revocation.isReplacement, state.index.revocation(id: revocation.id) == nil {
            state.epochs.enter(revocation.id)
        }
        state.index.upsert(revocation)
    }

    private static func leave(_ id: String, _ state: inout State) {
        state.index.remove(id: id)
        state.restored.forget(id)
        state.epochs.leave(id)
    }

    private func mark(_ revocation: Revocation, in state: inout State, now: Int64) -> Bool {
        guard revocation.isInForce(at: now) else { return false }
        let below =
            revocation.coversEntriesBelow ? self.directory.entryIDs(coveredBy: revocation) : []
        var isChanged = false
        for number in state.live.rows(revocation, entryIDs: below) {
            guard let row = state.live.rows[Int(number)] else { continue }
            // Of a workload that lives and ends every second hundreds are live and taken back; each is marked once.
            if revocation.target.kind == .workload, state.revoked.isRevokedForGood(number) {
                continue
            }
            if state.revoked.mark(number, row, by: revocation) { isChanged = true }
        }
        return isChanged
    }

    /// The directory was loaded anew. Revocations that are known keep what they hit.
    private func reload(
        _ revocations: [Revocation], _ state: inout State, now: Int64
    ) -> Bool {
        var isChanged = false
        let ids = Set(revocations.map(\.id))
        for old in state.index.ordered where !ids.contains(old.id) {
            Self.leave(old.id, &state)
            if state.revoked.unmark(old.id, in: state.live) { isChanged = true }
        }
        for revocation in revocations where state.index.revocation(id: revocation.id) == nil {
            Self.enter(revocation, &state)
            if self.mark(revocation, in: &state, now: now) { isChanged = true }
        }
        return isChanged
    }
}
