import SPIFFE

/// Something exact that a leaf says and that it can be found by.
package struct LeafTerm: Hashable, Sendable {
    /// What is said. The names are those of an index's rows and never change.
    package enum Field: String, Sendable, CaseIterable {
        case serial
        case jti
        case transaction = "txn"
        case entryID = "entry_id"
        case spiffeID = "spiffe_id"
        case node
    }

    /// Of which member of a leaf.
    package let field: Field
    /// As leaves have it.
    package let value: String

    package init(_ field: Field, _ value: String) {
        self.field = field
        self.value = value
    }

    /// What a leaf can be found by.
    package static func terms(of leaf: Leaf) -> Set<LeafTerm> {
        let isEntry = leaf.event.type.hasPrefix("entry.")
        var terms: Set<LeafTerm> = []
        for (name, value) in leaf.event.members {
            guard let text = value.stringValue else { continue }
            switch name {
            case "serial": terms.insert(LeafTerm(.serial, text))
            case "jti": terms.insert(LeafTerm(.jti, text))
            case "txn": terms.insert(LeafTerm(.transaction, text))
            case "entry_id": terms.insert(LeafTerm(.entryID, text))
            case "subject" where isEntry: terms.insert(LeafTerm(.entryID, text))
            case "spiffe_id", "target": terms.insert(LeafTerm(.spiffeID, text))
            case "node": terms.insert(LeafTerm(.node, text))
            default: break
            }
        }
        return terms
    }
}

extension LeafFilter {
    /// What every leaf that matches can be found by, the most telling that is asked about; nil when nothing of that kind is.
    package var term: LeafTerm? {
        if let serial = self.serial { return LeafTerm(.serial, Self.normalized(serial: serial)) }
        if let jti = self.jti { return LeafTerm(.jti, jti) }
        if let transaction = self.transaction { return LeafTerm(.transaction, transaction) }
        if let entryID = self.entryID { return LeafTerm(.entryID, entryID) }
        if let spiffeID = self.spiffeID { return LeafTerm(.spiffeID, spiffeID) }
        return self.node.map { LeafTerm(.node, $0) }
    }
}
