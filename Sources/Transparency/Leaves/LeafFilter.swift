import SPIFFE

/// Which leaves somebody wants to see. What is nil is not asked about; what is set must all hold.
package struct LeafFilter: Sendable {
    /// The leaf's type, or the part of it before the dot.
    package var type: String?
    /// Whom the leaf is about: the SVID's ID, or the target of a revocation.
    package var spiffeID: String?
    /// A serial number in any spelling of hexadecimal.
    package var serial: String?
    /// A token's `jti`.
    package var jti: String?
    /// A registration entry: the one that an SVID was issued for, or that was changed.
    package var entryID: String?
    /// An agent's ID.
    package var node: String?
    /// Who asked.
    package var caller: String?
    /// A transaction that workloads made statements about.
    package var transaction: String?
    /// The first instant of interest.
    package var since: LeafTime?
    /// The last instant of interest.
    package var until: LeafTime?

    package init() {}

    /// Whether nothing is asked about.
    package var isEmpty: Bool {
        [
            self.type, self.spiffeID, self.serial, self.jti, self.entryID, self.node, self.caller,
            self.transaction,
        ].allSatisfy { $0 == nil } && self.since == nil && self.until == nil
    }

    /// Whether a leaf is one of those.
    package func matches(_ leaf: Leaf) -> Bool {
        if let since, leaf.time < since { return false }
        if let until, leaf.time > until { return false }
        let type = leaf.event.type
        if let wanted = self.type, type != wanted, !type.hasPrefix(wanted + ".") { return false }
        let members = leaf.event.members
        func has(_ wanted: String?, _ names: String...) -> Bool {
            guard let wanted else { return true }
            return members.contains { name, value in
                names.contains(name)
                    && value.stringValue.map { ExactText($0) == ExactText(wanted) } == true
            }
        }
        let entryNames = type.hasPrefix("entry.") ? "subject" : "entry_id"
        return has(self.spiffeID, "spiffe_id", "target") && has(self.jti, "jti")
            && has(self.serial.map(Self.normalized(serial:)), "serial")
            && has(self.entryID, "entry_id", entryNames) && has(self.node, "node")
            && has(self.caller, "caller") && has(self.transaction, "txn")
    }

    /// A serial number as leaves have it: lower case, without colons and leading zeros.
    package static func normalized(serial: String) -> String {
        let digits = serial.lowercased().filter { $0 != ":" }
        let rest = digits.drop { $0 == "0" }
        return rest.isEmpty && !digits.isEmpty ? "0" : String(rest)
    }
}
