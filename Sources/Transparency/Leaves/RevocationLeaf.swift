/// `revocation.created`: identities were taken back.
package struct RevocationCreatedLeaf: Hashable, Sendable {
    /// The revocation's ID.
    package var revocationID: String
    /// What `target` is: `spiffe_id`, `path_prefix`, `entry_id`, `serial`, `jti`, `agent_id`, `selector` or
    /// `authority_id`.
    package var targetType: String
    /// Whom it hits.
    package var target: String
    /// Whether it hits what descends from the target too.
    package var andChildren: Bool
    /// Whether it can be lifted.
    package var isSuspension: Bool
    /// Whether fresh SVIDs are issued at once.
    package var isReplacement: Bool
    /// Why, in the words of whoever did it.
    package var reason: String
    /// When it ends by itself.
    package var expiresAt: LeafTime?
    /// How many live SVIDs it hit.
    package var affected: Int64?
    /// Who did it.
    package var caller: String
    /// Its number in the change feed.
    package var seq: Int64

    package init(
        revocationID: String, targetType: String, target: String, andChildren: Bool = false,
        isSuspension: Bool = false, isReplacement: Bool = false, reason: String,
        expiresAt: LeafTime? = nil, affected: Int64? = nil, caller: String, seq: Int64
    ) {
        self.revocationID = revocationID
        self.targetType = targetType
        self.target = target
        self.andChildren = andChildren
        self.isSuspension = isSuspension
        self.isReplacement = isReplacement
        self.reason = reason
        self.expiresAt = expiresAt
        self.affected = affected
        self.caller = caller
        self.seq = seq
    }

    var fields: LeafFields {
        var fields = LeafFields()
        fields.add("revocation_id", self.revocationID)
        fields.add("target_type", self.targetType)
        fields.add("target", self.target)
        fields.add("and_children", self.andChildren)
        fields.add("suspend", self.isSuspension)
        fields.add("replace", self.isReplacement)
        fields.add("reason", self.reason)
        fields.add("expires_at", self.expiresAt)
        fields.add("affected", self.affected)
        fields.add("caller", self.caller)
        fields.add("seq", self.seq)
        return fields
    }

    init(_ reader: LeafReader) throws(LeafReader.Missing) {
        self.revocationID = try reader.need(reader.string("revocation_id"))
        self.targetType = try reader.need(reader.string("target_type"))
        self.target = try reader.need(reader.string("target"))
        self.andChildren = try reader.flag("and_children")
        self.isSuspension = try reader.flag("suspend")
        self.isReplacement = try reader.flag("replace")
        self.reason = try reader.need(reader.string("reason"))
        self.expiresAt = try reader.time("expires_at")
        self.affected = try reader.number("affected")
        self.caller = try reader.need(reader.string("caller"))
        self.seq = try reader.need(reader.number("seq"))
    }
}

/// `revocation.lifted`: a suspension ended.
package struct RevocationLiftedLeaf: Hashable, Sendable {
    /// Which revocation.
    package var revocationID: String
    /// Why: the words of whoever did it, or `expired`.
    package var reason: String
    /// Who did it; `self` when it ended by itself.
    package var caller: String
    /// Its number in the change feed.
    package var seq: Int64

    package init(revocationID: String, reason: String, caller: String, seq: Int64) {
        self.revocationID = revocationID
        self.reason = reason
        self.caller = caller
        self.seq = seq
    }

    var fields: LeafFields {
        var fields = LeafFields()
        fields.add("revocation_id", self.revocationID)
        fields.add("reason", self.reason)
        fields.add("caller", self.caller)
        fields.add("seq", self.seq)
        return fields
    }

    init(_ reader: LeafReader) throws(LeafReader.Missing) {
        self.revocationID = try reader.need(reader.string("revocation_id"))
        self.reason = try reader.need(reader.string("reason"))
        self.caller = try reader.need(reader.string("caller"))
        self.seq = try reader.need(reader.number("seq"))
    }
}
