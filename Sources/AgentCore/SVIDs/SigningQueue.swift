#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Which entries need an X509-SVID from the server, and how far each request has come. At most one
/// request per entry is under way.
package struct SigningQueue: Sendable {
    /// One thing to ask the server for.
    package struct Job: Hashable, Sendable {
        package let requestID: UInt64
        package let entry: AuthorizedEntry
    }

    private enum State: Sendable {
        case queued(urgent: Bool)
        case inFlight(requestID: UInt64, again: Bool)
        /// Refused by the server; not asked again before the date, unless the entry changes.
        case resting(until: Date)
    }

    private var states: [String: State] = [:]
    private var failures: [String: Int] = [:]
    private var urgent: [String] = []
    private var background: [String] = []
    private var inFlight: [UInt64: AuthorizedEntry] = [:]
    private var nextRequestID: UInt64 = 1

    package init() {}

    /// Whether something waits to be sent.
    package var hasWork: Bool { !self.urgent.isEmpty || !self.background.isEmpty }
    /// How many entries are queued, under way or resting.
    package var count: Int { self.states.count }

    /// Asks for a new SVID for the entry, unless that is under way already.
    ///
    /// - Parameter urgent: A workload is waiting.
    mutating func request(_ entryID: String, urgent: Bool, now: Date) {
        switch self.states[entryID] {
        case .queued(let wasUrgent):
            if urgent, !wasUrgent {
                self.states[entryID] = .queued(urgent: true)
                self.urgent.append(entryID)
            }
        case .inFlight:
            break
        case .resting(let until) where until > now:
            break
        case .resting, nil:
            self.states[entryID] = .queued(urgent: urgent)
            if urgent { self.urgent.append(entryID) } else { self.background.append(entryID) }
        }
    }

    /// Whether the server refused to sign for the entry and is not to be asked again yet.
    func isResting(_ entryID: String, now: Date) -> Bool {
        if case .resting(let until) = self.states[entryID] { return until > now }
        return false
    }

    /// The entry is gone.
    mutating func forget(_ entryID: String) {
        if case .inFlight(let requestID, _) = self.states[entryID] {
            self.inFlight[requestID] = nil
        }
        self.states[entryID] = nil
        self.failures[entryID] = nil
    }

    /// The entry has changed: what is under way is out of date, and an earlier refusal no longer
    /// counts.
    mutating func entryChanged(_ entryID: String) {
        switch self.states[entryID] {
        case .inFlight(let requestID, _):
            self.states[entryID] = .inFlight(requestID: requestID, again: true)
        case .resting:
            self.states[entryID] = nil
        case .queued, nil:
            break
        }
        self.failures[entryID] = nil
    }

    /// Takes up to `limit` requests to send, those that workloads wait for first.
    ///
    /// - Parameter withheld: Entries whose requests stay in the queue.
    mutating func takeBatch(
        limit: Int, except withheld: Set<String> = [], entry: (String) -> AuthorizedEntry?
    ) -> [Job] {
        var batch: [Job] = []
        var kept: [String] = []
        func isDue(_ id: String, urgent wanted: Bool) -> Bool {
            if case .queued(let urgent) = self.states[id] { return urgent == wanted }
            return false
        }
        var taken = 0
        while taken < self.urgent.count, batch.count < limit {
            let id = self.urgent[taken]
            taken += 1
            guard isDue(id, urgent: true) else { continue }
            if withheld.contains(id) {
                if !kept.contains(id) { kept.append(id) }
            } else {
                self.start(id, entry(id), &batch)
            }
        }
        self.urgent.replaceSubrange(..<taken, with: kept)
        kept = []
        taken = 0
        while taken < self.background.count, batch.count < limit {
            let id = self.background[taken]
            taken += 1
            guard isDue(id, urgent: false) else { continue }
            if withheld.contains(id) {
                if !kept.contains(id) { kept.append(id) }
            } else {
                self.start(id, entry(id), &batch)
            }
        }
        self.background.replaceSubrange(..<taken, with: kept)
        return batch
    }

    private mutating func start(_ id: String, _ entry: AuthorizedEntry?, _ batch: inout [Job]) {
        guard let entry else {
            self.states[id] = nil
            return
        }
        let requestID = self.nextRequestID
        self.nextRequestID += 1
        self.states[id] = .inFlight(requestID: requestID, again: false)
        self.inFlight[requestID] = entry
        batch.append(Job(requestID: requestID, entry: entry))
    }

    /// The entry a request under way was for; nil when nobody waits for it any more.
    func entry(forRequest requestID: UInt64) -> AuthorizedEntry? { self.inFlight[requestID] }

    /// The request has been answered with an SVID. Says whether the entry changed meanwhile.
    mutating func succeeded(_ requestID: UInt64) -> (entry: AuthorizedEntry, outdated: Bool)? {
        guard let entry = self.inFlight.removeValue(forKey: requestID) else { return nil }
        var outdated = false
        if case .inFlight(_, let again) = self.states[entry.id] { outdated = again }
        self.states[entry.id] = nil
        self.failures[entry.id] = nil
        return (entry, outdated)
    }

    /// The server refused. The entry rests, longer each time, up to a minute.
    ///
    /// - Returns: The entry and when it may be tried again.
    mutating func failed(
        _ requestID: UInt64, now: Date, jitter: Double
    ) -> (entry: AuthorizedEntry, retryAt: Date)? {
        guard let entry = self.inFlight.removeValue(forKey: requestID) else { return nil }
        if case .inFlight(_, true) = self.states[entry.id] {
            self.states[entry.id] = nil
            return (entry, now)
        }
        let count = self.failures[entry.id, default: 0]
        self.failures[entry.id] = count + 1
        let wait = min(60, Double(1 << min(count, 6))) * (0.5 + 0.5 * jitter)
        let retryAt = now.addingTimeInterval(wait)
        self.states[entry.id] = .resting(until: retryAt)
        return (entry, retryAt)
    }

    /// The connection is gone: what was under way goes back into the queue, in front.
    mutating func connectionLost() {
        var again: [String] = []
        for (_, entry) in self.inFlight {
            self.states[entry.id] = .queued(urgent: true)
            again.append(entry.id)
        }
        self.inFlight = [:]
        self.urgent.insert(contentsOf: again, at: 0)
    }

    /// Forgets everything under way.
    mutating func removeAll() {
        let next = self.nextRequestID
        self = SigningQueue()
        self.nextRequestID = next
    }
}
