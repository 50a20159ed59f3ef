package import Foundation
package import SPIFFE

/// Creates, changes, deletes and finds registration entries.
package struct EntryRegistry: Sendable {
    /// What became of one entry of a create call.
    package enum CreateResult: Sendable {
        case created(Entry)
        /// An entry with the same SPIFFE ID, parent and selectors, or the same ID, exists; this one.
        case exists(Entry)
        case refused(ServerError)
    }

    private let directory: Directory
    private let store: any EntryStore
    private let now: @Sendable () -> Date

    package init(
        directory: Directory, store: any EntryStore,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.directory = directory
        self.store = store
        self.now = now
    }

    package var trustDomain: TrustDomain { self.directory.trustDomain }

    /// Adds entries; each succeeds or fails on its own. All that succeed are durable and visible to agents
    /// when this returns.
    ///
    /// - Parameter drafts: entries as asked for; an empty ID is replaced by a new UUID, revision and creation
    ///   time are set here. A draft that could not be parsed carries its error.
    /// - Returns: one result per draft, in order.
    /// - Throws: ``ServerError`` when the store cannot be written; nothing was added then.
    package func create(_ drafts: [Result<Entry, ServerError>]) async throws -> [CreateResult] {
        let createdAt = Int64(self.now().timeIntervalSince1970)
        var results: [CreateResult?] = []
        var entries: [Entry] = []
        for draft in drafts {
            do {
                var entry = try draft.get()
                if entry.id.isEmpty { entry.id = EntryID.random(at: createdAt) }
                entry.revision = 0
                entry.createdAt = createdAt
                entry = Self.canonical(entry)
                try self.check(entry, replacing: nil)
                entries.append(entry)
                results.append(nil)
            } catch {
                results.append(.refused(error))
            }
        }
        let added = entries.isEmpty ? [] : try await self.store.createEntries(entries)
        var next = 0
        return results.map { result in
            if let result { return result }
            let entry = entries[next]
            let wasAdded = next < added.count && added[next]
            next += 1
            return wasAdded ? .created(entry) : self.existing(entry)
        }
    }

    /// Changes entries; each succeeds or fails on its own.
    ///
    /// - Parameter updates: the transform gets the stored entry and gives the wished one; revision and
    ///   creation time are the store's.
    package func update(_ updates: [EntryUpdate]) async throws -> [EntryUpdateResult] {
        let checked = updates.map { update in
            EntryUpdate(id: update.id) { (old: Entry) throws(ServerError) -> Entry in
                let new = Self.canonical(try update.transform(old))
                try self.check(new, replacing: old)
                return new
            }
        }
        return try await self.store.updateEntries(checked)
    }

    /// - Returns: per ID, in order, whether there was such an entry.
    package func delete(_ ids: [String]) async throws -> [Bool] {
        try await self.store.deleteEntries(ids)
    }

    package func entry(id: String) -> Entry? { self.directory.withEntries { $0.entry(id: id) } }

    /// The entries that pass the filter, from slot `start` on.
    ///
    /// - Parameters:
    ///   - limit: At most so many; 0 means all.
    ///   - start: where an earlier page ended; 0 for the first.
    /// - Returns: the entries and the slot to go on from.
    package func list(_ filter: EntryFilter, limit: Int = 0, from start: Int = 0) -> (
        entries: [Entry], next: Int
    ) {
        // Who asks for a trust domain means the entries of its groups too.
        let (groups, own) = (self.directory.groups, self.trustDomain)
        let matches: (Entry) -> Bool = { entry in
            filter.matches(
                filter.federatesWith == nil ? entry : groups.expanding(entry, own: own))
        }
        return self.directory.withEntries { index in
            var entries: [Entry] = []
            var next = start
            if let candidates = filter.candidates(index), limit == 0 {
                return (candidates.filter(matches), start)
            }
            index.scan(from: start) { slot, entry in
                guard matches(entry) else { return true }
                if limit > 0 && entries.count == limit { return false }
                entries.append(entry)
                next = slot + 1
                return true
            }
            return (entries, next)
        }
    }

    package func count(_ filter: EntryFilter) -> Int {
        if filter.isEmpty { return self.directory.withEntries { $0.count } }
        return self.list(filter).entries.count
    }

    /// Removes entries that have expired.
    ///
    /// - Returns: how many.
    package func sweep() async throws -> Int {
        let now = Int64(self.now().timeIntervalSince1970)
        let ids = self.directory.withEntries { $0.expired(at: now) }
        guard !ids.isEmpty else { return 0 }
        return try await self.store.deleteEntries(ids).count { $0 }
    }

    private func existing(_ entry: Entry) -> CreateResult {
        self.directory.withEntries { index in
            if let similar = index.similar(to: entry) { return .exists(similar) }
            if let same = index.entry(id: entry.id) { return .exists(same) }
            return .refused(
                ServerError(.alreadyExists, "an entry like this existed a moment ago; try again"))
        }
    }

    /// A partner whose bundle has not arrived yet does not hold an entry up: the relationship is enough. What an
    /// entry federates with already stays, so that it can be changed after a partner was let go.
    private func check(_ entry: Entry, replacing old: Entry?) throws(ServerError) {
        try EntryValidation.check(entry, in: self.trustDomain)
        for group in entry.federatesWithGroups
        where old?.federatesWithGroups.contains(group) != true {
            _ = try self.directory.groups.members(of: group)
        }
        for trustDomain in entry.federatesWith
        where old?.federatesWith.contains(trustDomain) != true {
            guard trustDomain != self.trustDomain,
                self.directory.bundle(trustDomain) != nil
                    || self.directory.relationship(trustDomain) != nil
            else {
                throw ServerError(
                    .invalidArgument,
                    "unable to federate with \(quoted(trustDomain.name)): there is no bundle of that trust domain and "
                        + "no relationship with it"
                )
            }
        }
    }

    /// Selectors and trust domains sorted and without duplicates, so that equal sets are equal values.
    private static func canonical(_ entry: Entry) -> Entry {
        var entry = entry
        entry.selectors = Array(Set(entry.selectors)).sorted()
        entry.federatesWith = Array(Set(entry.federatesWith)).sorted()
        entry.federatesWithGroups = Array(Set(entry.federatesWithGroups)).sorted()
        return entry
    }
}
