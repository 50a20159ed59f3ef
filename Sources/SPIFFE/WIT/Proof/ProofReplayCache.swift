import Crypto
public import Foundation

/// One use of a proof, for the check that it is the first.
public struct ProofUse: Sendable, Hashable {
    /// Who proved itself.
    public let sender: SPIFFEID
    /// What the sender calls this proof; unique among its own only.
    public let identifier: String
    /// From then on the proof is refused for its age, and need not be remembered. UTC.
    public let expiresAt: Date

    package init(sender: SPIFFEID, identifier: String, expiresAt: Date) {
        self.sender = sender
        self.identifier = identifier
        self.expiresAt = expiresAt
    }
}

/// Remembers the proofs that were used until they expire by themselves, so that none is accepted twice.
///
/// A value: the owner guards it and calls ``record(_:now:)`` for each proof once all else has been checked.
/// Bounded as a whole and for each sender, so that one sender cannot crowd out the others. When it is full,
/// new proofs are refused: a cache that forgot would accept what it has forgotten.
public struct ProofReplayCache: Sendable {
    /// What is to be done with a proof.
    public enum Outcome: Sendable, Hashable {
        /// It is the first use.
        case fresh
        /// It has been used before.
        case replayed
        /// There is no room to remember it.
        case full
    }

    private struct Key: Hashable, Sendable {
        let high: UInt64
        let low: UInt64
    }

    /// How many proofs are remembered at most.
    public let capacity: Int
    /// How many of them of one sender.
    public let capacityPerSender: Int

    private var seen: Set<Key> = []
    private var counts: [SPIFFEID: Int] = [:]
    /// What ends in which second, so that forgetting costs what it frees.
    private var ending: [Int64: [(key: Key, sender: SPIFFEID)]] = [:]
    private var lastSweep = Int64.min

    /// - Parameters:
    ///   - capacity: About 150 bytes each.
    ///   - capacityPerSender: Bounds the requests of one sender within the lifetime of a proof.
    public init(capacity: Int = 65_536, capacityPerSender: Int = 16_384) {
        self.capacity = max(1, capacity)
        self.capacityPerSender = max(1, capacityPerSender)
    }

    /// How many proofs are remembered now.
    public var count: Int { self.seen.count }

    /// Takes note of a proof.
    public mutating func record(_ use: ProofUse, now: Date = Date()) -> Outcome {
        let second = ProofReplayCache.second(now)
        self.sweep(second)
        let key = ProofReplayCache.key(use)
        guard !self.seen.contains(key) else { return .replayed }
        let count = self.counts[use.sender, default: 0]
        guard self.seen.count < self.capacity, count < self.capacityPerSender else { return .full }
        self.seen.insert(key)
        self.counts[use.sender] = count + 1
        // One second more: a proof counts until its last instant.
        let end = max(ProofReplayCache.second(use.expiresAt), second) + 1
        self.ending[end, default: []].append((key, use.sender))
        return .fresh
    }

    private mutating func sweep(_ second: Int64) {
        // A clock that was set back must not forget anything early: what ended stays until its second.
        guard second != self.lastSweep else { return }
        self.lastSweep = second
        for end in self.ending.keys.filter({ $0 <= second }) {
            for (key, sender) in self.ending.removeValue(forKey: end) ?? [] {
                self.seen.remove(key)
                let count = self.counts[sender, default: 0]
                self.counts[sender] = count > 1 ? count - 1 : nil
            }
        }
    }

    private static func second(_ date: Date) -> Int64 {
        let seconds = date.timeIntervalSince1970
        return Int64(min(max(seconds, -NumericDate.maximum), NumericDate.maximum))
    }

    /// 128 bits of SHA-256: a sender that finds two identifiers of one key only locks itself out.
    private static func key(_ use: ProofUse) -> Key {
        let digest = SHA256.hash(data: Array("\(use.sender)\n\(use.identifier)".utf8))
        let words = Array(digest.prefix(16))
        return Key(
            high: words[..<8].reduce(0) { $0 << 8 | UInt64($1) },
            low: words[8...].reduce(0) { $0 << 8 | UInt64($1) })
    }
}
