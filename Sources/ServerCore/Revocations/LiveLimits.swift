import SPIFFE
import Transparency

/// How many SVIDs may be live at once that were issued through one agent.
///
/// A revocation of the agent puts each of them on a list that verifiers hold in memory, so a stolen agent must not be
/// able to make that list as long as it likes. X509-SVIDs (CRLs) and tokens (status list, digests) count apart. What
/// is minted, and what servers have, counts nowhere.
package struct LiveLimits: Sendable, Hashable {
    /// Of all entries together; 0 for any number. 65,536 make a CRL of some 3 MiB, which stock clients of the
    /// Workload API take.
    package var perAgent = 65_536
    /// Of one entry, and of the agent itself; 0 for any number. Less than the whole, so that one workload that asks for
    /// tokens without end does not take the others' room.
    package var perEntry = 8_192

    /// What a server has whose configuration says nothing of it.
    package init() {}

    /// Any number.
    package static var none: LiveLimits {
        var limits = LiveLimits()
        (limits.perAgent, limits.perEntry) = (0, 0)
        return limits
    }
}

/// Live SVIDs, X509-SVIDs and tokens apart.
struct LiveCounts: Sendable {
    private(set) var certificates: UInt32 = 0
    private(set) var tokens: UInt32 = 0

    var isEmpty: Bool { self.certificates == 0 && self.tokens == 0 }

    func count(ofTokens isToken: Bool) -> Int { Int(isToken ? self.tokens : self.certificates) }

    mutating func add(isToken: Bool) {
        if isToken { self.tokens += 1 } else { self.certificates += 1 }
    }

    mutating func remove(isToken: Bool) {
        if isToken, self.tokens > 0 { self.tokens -= 1 }
        if !isToken, self.certificates > 0 { self.certificates -= 1 }
    }
}

extension LiveSVIDs {
    /// Which limit one more SVID for that subject would pass; nil when there is room.
    func isFull(for subject: IssuanceSubject, _ limits: LiveLimits) -> LiveLimit? {
        guard let node = subject.node else { return nil }
        let isToken = subject.svidType != .x509
        let counts = self.counts(node: node, subject)
        // An agent's own SVID comes even when its workloads' have taken all the room: it has room of its own.
        if subject.entryID != nil, limits.perAgent > 0,
            counts.ofNode.count(ofTokens: isToken) >= limits.perAgent
        {
            return .agent(limits.perAgent)
        }
        if limits.perEntry > 0, counts.ofSubject.count(ofTokens: isToken) >= limits.perEntry {
            return .entry(limits.perEntry)
        }
        return nil
    }
}

/// A limit that is reached.
enum LiveLimit: Sendable, Hashable {
    case agent(Int)
    case entry(Int)

    /// What the caller is told.
    func refusal(of subject: IssuanceSubject, name: String) -> ServerError {
        let kind = subject.svidType == .x509 ? "X509-SVIDs" : "tokens"
        let agent = subject.node?.string ?? ""
        let text =
            switch self {
            case .agent(let most):
                "agent \(agent) has \(most) live \(kind), as many as it may have "
                    + "(max_live_svids_per_agent)"
            case .entry(let most):
                "agent \(agent) has \(most) live \(kind) of this identity, as many as it may have "
                    + "(max_live_svids_per_entry)"
            }
        return ServerError(
            .resourceExhausted, "\(name) refused: \(text); wait until some of them have expired")
    }
}
