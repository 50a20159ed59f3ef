import SPIFFE
package import Transparency

/// The changes of one write, each with what the ledger says of it. Stores fill it inside their transaction.
package struct ChangeList: Sendable {
    package private(set) var changes: [Change] = []
    /// One per change; nil where the ledger says nothing.
    package private(set) var events: [LeafEvent?] = []
    private let actor: String
    private let evidenceDigest: [UInt8]?

    /// For a write by the actor of the current task.
    package init() {
        self.init(actor: ChangeActor.name, evidenceDigest: ChangeActor.evidenceDigest)
    }

    /// - Parameters:
    ///   - actor: Who causes the changes.
    ///   - evidenceDigest: Of a node that is attested.
    package init(actor: String, evidenceDigest: [UInt8]? = nil) {
        self.actor = actor
        self.evidenceDigest = evidenceDigest
    }

    package var isEmpty: Bool { self.changes.isEmpty }

    /// Adds a change. An entry with revision 0 and a bundle with number 1 are new; a node is taken as attested and a
    /// relationship as updated.
    package mutating func append(_ change: Change) {
        self.append(change, self.event(change))
    }

    /// Adds a relationship that is new.
    package mutating func append(new relationship: FederationRelationship) {
        self.append(
            .relationshipUpserted(relationship),
            self.change(
                .federation, .created, relationship.trustDomain.name,
                content: LeafDigests.content(relationship)))
    }

    /// Adds a node that was `before` until now.
    package mutating func append(_ node: AttestedNode, replacing before: AttestedNode) {
        self.append(
            .nodeUpserted(node),
            Self.action(before, node).map { self.node(node, $0) })
    }

    /// Adds the changes of another write.
    package mutating func append(contentsOf other: ChangeList) {
        self.changes.append(contentsOf: other.changes)
        self.events.append(contentsOf: other.events)
    }

    /// The events with the numbers of their changes; nil where there is none.
    ///
    /// - Parameter head: the feed's head before these changes.
    package func numbered(after head: UInt64) -> [LeafEvent?] {
        var seq = Int64(clamping: head)
        return self.events.map { event in
            seq += 1
            switch event {
            case .change(var leaf):
                leaf.seq = seq
                return .change(leaf)
            case .node(var leaf):
                leaf.seq = seq
                return .node(leaf)
            default: return event
            }
        }
    }

    private mutating func append(_ change: Change, _ event: LeafEvent?) {
        self.changes.append(change)
        self.events.append(event)
    }

    private func event(_ change: Change) -> LeafEvent? {
        switch change {
        case .entryUpserted(let entry):
            self.change(
                .entry, entry.revision == 0 ? .created : .updated, entry.id,
                revision: entry.revision, content: LeafDigests.content(entry))
        case .entryRemoved(let id): self.change(.entry, .deleted, id)
        case .nodeUpserted(let node): self.node(node, .attested)
        case .nodeRemoved(let id):
            .node(NodeLeaf(action: .evicted, node: id, caller: self.actor))
        case .bundleUpserted(let bundle):
            self.change(
                .bundle, bundle.sequenceNumber == 1 ? .created : .updated,
                bundle.trustDomain.name, content: LeafDigests.content(bundle))
        case .bundleRemoved(let trustDomain): self.change(.bundle, .deleted, trustDomain.name)
        case .relationshipUpserted(let relationship):
            self.change(
                .federation, .updated, relationship.trustDomain.name,
                content: LeafDigests.content(relationship))
        case .relationshipRemoved(let trustDomain):
            self.change(.federation, .deleted, trustDomain.name)
        case .limitsUpserted(let limits):
            self.change(.federation, .updated, limits.trustDomain.name)
        case .limitsRemoved(let trustDomain):
            self.change(.federation, .updated, trustDomain.name)
        // The registry of revocations records them itself, with what they hit.
        case .revocationUpserted, .revocationRemoved: nil
        }
    }

    private func change(
        _ kind: ChangeLeaf.Kind, _ action: ChangeLeaf.Action, _ subject: String,
        revision: Int64? = nil, content: [UInt8]? = nil
    ) -> LeafEvent {
        .change(
            ChangeLeaf(
                kind: kind, action: action, subject: subject, revision: revision,
                contentDigest: content, caller: self.actor))
    }

    private func node(_ node: AttestedNode, _ action: NodeLeaf.Action) -> LeafEvent {
        var leaf = NodeLeaf(
            action: action, node: node.id, attestationType: node.attestationType,
            selectorsDigest: LeafDigests.selectors(node.selectors),
            evidenceDigest: action == .attested ? self.evidenceDigest : nil, caller: self.actor)
        switch action {
        case .attested:
            leaf.serial = node.serial
            leaf.notAfter = LeafTime(seconds: node.expiresAt)
        case .renewed:
            leaf.serial = node.preparedSerial
            leaf.notAfter = LeafTime(seconds: node.preparedExpiresAt)
        case .banned, .evicted: break
        }
        return .node(leaf)
    }

    /// What has become of a node; nil for what the ledger does not tell: that it first uses a renewed SVID, its version.
    private static func action(
        _ before: AttestedNode, _ after: AttestedNode
    ) -> NodeLeaf.Action? {
        if after.isBanned { return before.isBanned ? nil : .banned }
        if !after.preparedSerial.isEmpty, after.preparedSerial != before.preparedSerial {
            return .renewed
        }
        return nil
    }
}
