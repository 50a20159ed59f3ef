#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// SVIDs that end with the processes that had them.
extension SVIDCache {
    /// Forgets an entry's SVIDs and keys, and what was asked for. Who waits for the entry gets fresh ones.
    ///
    /// - Parameter withholds: Whether nothing is asked of the server for the entry until ``release(_:)``.
    mutating func forgetSVIDs(ofEntry id: String, withholds: Bool, now: Date) -> Effects {
        var effects = Effects()
        self.records[id] = nil
        self.signing.forget(id)
        self.wit.forget(id)
        effects.changedEntryIDs = [id]
        if withholds { self.withheld.insert(id) }
        for group in self.groupsByEntry[id] ?? [] { self.groupChanged(group, now, &effects) }
        effects.wantsSigning = self.hasWork
        return effects
    }

    /// The server may be asked for the entry's SVIDs again.
    mutating func release(_ entryIDs: some Sequence<String>) -> Effects {
        self.withheld.subtract(entryIDs)
        var effects = Effects()
        // Requests for tokens wait elsewhere.
        effects.wantsSigning = true
        return effects
    }

    /// Whether all that the view has is what the agent holds now; asked of what ends with its process.
    func isCurrent(_ view: X509View) -> Bool {
        zip(view.identities, view.key.identities).allSatisfy { identity, number in
            !identity.entry.revokesOnExit || self.records[identity.entry.id]?.number == number
        }
    }

    /// The same of WIT-SVIDs.
    func isCurrent(_ view: WITView) -> Bool {
        zip(view.identities, view.key.identities).allSatisfy { identity, number in
            !identity.entry.revokesOnExit || self.wit.records[identity.entry.id]?.number == number
        }
    }
}
