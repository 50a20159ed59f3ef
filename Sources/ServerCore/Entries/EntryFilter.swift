package import SPIFFE

/// How a record's set is compared with the set that a filter gives.
package enum SetMatch: Sendable {
    /// The sets are equal.
    case exact
    /// The record's set is contained in the given one.
    case subset
    /// The record's set contains the given one.
    case superset
    /// The sets have something in common.
    case any

    package func matches<Element>(record: Set<Element>, given: Set<Element>) -> Bool {
        switch self {
        case .exact: record == given
        case .subset: record.isSubset(of: given)
        case .superset: record.isSuperset(of: given)
        case .any: !record.isDisjoint(with: given)
        }
    }
}

/// Which entries to list; all that is set must hold.
package struct EntryFilter: Sendable {
    package var spiffeID: SPIFFEID?
    package var parentID: SPIFFEID?
    package var selectors: (set: Set<Selector>, match: SetMatch)?
    package var federatesWith: (set: Set<TrustDomain>, match: SetMatch)?
    package var hint: String?
    /// Only `true` filters.
    package var downstreamOnly = false

    package init() {}

    var isEmpty: Bool {
        self.spiffeID == nil && self.parentID == nil && self.selectors == nil
            && self.federatesWith == nil && self.hint == nil && !self.downstreamOnly
    }

    /// A small set that holds every match, when an index leads there.
    func candidates(_ index: EntryIndex) -> [Entry]? {
        var result: [Entry] = []
        if let spiffeID {
            guard spiffeID.isMember(of: index.trustDomain) else { return [] }
            index.forEach(spiffePath: spiffeID.path) { result.append($0) }
            return result
        }
        if let parentID {
            guard parentID.isMember(of: index.trustDomain) else { return [] }
            index.forEachChild(ofPath: parentID.path) { result.append($0) }
            return result
        }
        return nil
    }

    func matches(_ entry: Entry) -> Bool {
        if let spiffeID, entry.spiffeID != spiffeID { return false }
        if let parentID, entry.parentID != parentID { return false }
        if downstreamOnly && !entry.downstream { return false }
        if let hint, !hint.isEmpty, !entry.hint.utf8.elementsEqual(hint.utf8) { return false }
        if let selectors,
            !selectors.match.matches(record: Set(entry.selectors), given: selectors.set)
        {
            return false
        }
        if let federatesWith,
            !federatesWith.match.matches(record: Set(entry.federatesWith), given: federatesWith.set)
        {
            return false
        }
        return true
    }
}
