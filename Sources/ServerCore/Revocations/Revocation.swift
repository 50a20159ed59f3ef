package import SPIFFE
package import Transparency

/// Identities that were taken back.
///
/// One that is not a replacement also blocks: nothing that it covers is issued while it is in force.
package struct Revocation: Sendable, Hashable {
    /// The most bytes that a reason may have.
    package static let maxReasonBytes = 1_024

    package let id: String
    package var target: RevocationTarget
    /// Also what descends from the target.
    package var andChildren: Bool
    /// An operator can lift it.
    package var isSuspension: Bool
    /// Only SVIDs that were issued before it are hit; fresh ones are issued.
    package var isReplacement: Bool
    package var reason: String
    /// Who did it: a SPIFFE ID, or `uid:<n>`.
    package var caller: String
    /// Unix seconds.
    package var createdAt: Int64
    /// Unix seconds; 0 for never. From that second on it counts no more.
    package var expiresAt: Int64

    package init(
        id: String, target: RevocationTarget, andChildren: Bool = false, isSuspension: Bool = false,
        isReplacement: Bool = false, reason: String, caller: String, createdAt: Int64,
        expiresAt: Int64 = 0
    ) {
        self.id = id
        self.target = target
        self.andChildren = andChildren
        self.isSuspension = isSuspension
        self.isReplacement = isReplacement
        self.reason = reason
        self.caller = caller
        self.createdAt = createdAt
        self.expiresAt = expiresAt
    }

    /// Whether nothing that it covers is issued.
    package var blocks: Bool { !self.isReplacement }

    /// Whether what it hits may become valid again: by hand, or when it ends by itself. Lists of revoked SVIDs call
    /// that suspended, for what they call revoked never comes back (RFC 5280 section 5.3.1).
    package var isReversible: Bool { self.isSuspension || self.expiresAt > 0 }

    /// Whether it is forgotten once all that it hit has expired. Others are for operators to look at, and stay.
    package var endsWithItsHits: Bool { self.isReplacement && self.target.kind == .workload }

    package func isInForce(at now: Int64) -> Bool { self.expiresAt == 0 || now < self.expiresAt }

    /// Whether it covers SVIDs of that ID by the ID alone.
    package func covers(_ id: SPIFFEID) -> Bool {
        switch self.target {
        case .spiffeID(let own):
            own == id
                || self.andChildren && id.isMember(of: own.trustDomain)
                    && Self.path(id.path, isAtOrBelow: own.path)
        case .pathPrefix(let prefix): Self.path(id.path, isAtOrBelow: prefix)
        case .agentID(let own): own == id
        case .entryID, .serial, .jti, .selector, .authorityID, .workload: false
        }
    }

    /// Whether it covers SVIDs of that entry by what the entry says alone.
    package func covers(_ entry: Entry) -> Bool {
        switch self.target {
        case .spiffeID, .pathPrefix: self.covers(entry.spiffeID)
        case .entryID(let id): entry.id == id
        case .selector(let selector): entry.selectors.contains(selector)
        case .serial, .jti, .agentID, .authorityID, .workload: false
        }
    }

    /// Whether it covers more entries than those that it names: entries below these in the graph of parents.
    package var coversEntriesBelow: Bool {
        guard self.andChildren else { return false }
        return switch self.target {
        case .entryID, .agentID, .selector: true
        case .spiffeID, .pathPrefix, .serial, .jti, .authorityID, .workload: false
        }
    }

    /// Why nothing is issued.
    package func refusal(of what: String) -> ServerError {
        ServerError(
            .failedPrecondition,
            "\(what) is revoked by revocation \(self.id) (reason: \(quoted(self.reason))); \(self.remedy)",
            revocationID: self.id)
    }

    /// Why an agent is refused. One that may come back is not told to give up.
    package func refusal(ofAgent id: SPIFFEID) -> ServerError {
        ServerError(
            .permissionDenied,
            "agent \(id) is revoked by revocation \(self.id) (reason: \(quoted(self.reason))); \(self.remedy)",
            agentReason: self.isReversible ? nil : .banned)
    }

    private var remedy: String {
        if self.isSuspension { return "\"revocation lift\" ends it" }
        return self.expiresAt > 0 ? "it ends by itself" : "it is for good"
    }

    /// The leaf that tells of it.
    ///
    /// - Parameters:
    ///   - affected: How many live SVIDs it hit; nil when that is not known.
    ///   - seq: Its number in the change feed.
    package func createdLeaf(affected: Int64?, seq: UInt64) -> RevocationCreatedLeaf {
        RevocationCreatedLeaf(
            revocationID: self.id, targetType: self.target.kind.rawValue, target: self.target.value,
            andChildren: self.andChildren, isSuspension: self.isSuspension,
            isReplacement: self.isReplacement, reason: self.reason,
            expiresAt: self.expiresAt > 0 ? LeafTime(seconds: self.expiresAt) : nil,
            affected: affected, caller: self.caller, seq: Int64(clamping: seq))
    }

    /// Whether a path is the prefix, or below it by whole segments.
    static func path(_ path: String, isAtOrBelow prefix: String) -> Bool {
        let (path, prefix) = (path.utf8, prefix.utf8)
        guard path.starts(with: prefix) else { return false }
        let rest = path.dropFirst(prefix.count)
        return rest.isEmpty || rest.first == UInt8(ascii: "/")
    }
}
