#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What the server is to hear of entries whose last process has ended: told until it answers, across sessions.
///
/// A state machine without I/O. At most one report for each entry; while it is open the agent asks for no SVID of the
/// entry, so that a report that is told again can never mean SVIDs that came after it.
struct WorkloadEndReports: Sendable {
    private enum State: Sendable {
        case queued
        case sent(requestID: UInt64)
        case resting
    }

    /// Reports under way at a time; the others wait.
    static let maximumUnderWay = 32

    /// Whether the server of this session takes reports; nil when there is no session.
    private(set) var isOffered: Bool?
    /// Grows whenever ``open`` is about to change.
    private(set) var changes: UInt64 = 0
    private var states: [String: State] = [:]
    private var failures: [String: Int] = [:]
    private var queue: [String] = []
    private var underWay: [UInt64: String] = [:]
    private var deadlines = DeadlineQueue<String>()
    private var nextID: UInt64 = 1

    /// When something that rests is to be told again; nil when nothing does.
    var nextDeadline: Date? { self.deadlines.next }
    /// The entries with an open report.
    var open: some Collection<String> { self.states.keys }

    func isOpen(_ entryID: String) -> Bool { self.states[entryID] != nil }

    /// The server is to hear of it.
    ///
    /// - Returns: False when it is about to, or when this session's server takes no reports.
    mutating func add(_ entryID: String) -> Bool {
        if self.isOffered == false || self.states[entryID] != nil { return false }
        self.changes += 1
        self.states[entryID] = .queued
        self.queue.append(entryID)
        return true
    }

    /// What is to be sent.
    mutating func takeQueue() -> [SessionRequest] {
        guard self.isOffered == true else { return [] }
        let count = min(self.queue.count, Self.maximumUnderWay - self.underWay.count)
        if count <= 0 { return [] }
        let requests = self.queue.prefix(count).map { entryID in
            let id = self.nextID
            self.nextID += 1
            self.states[entryID] = .sent(requestID: id)
            self.underWay[id] = entryID
            return SessionRequest.workloadEnd(requestID: id, entryID: entryID)
        }
        self.queue.removeFirst(count)
        return requests
    }

    /// The server has answered.
    ///
    /// - Returns: The entry, and whether its report is closed: the SVIDs are revoked, or never will be. Nil for an answer to
    ///   nothing.
    mutating func answered(
        _ requestID: UInt64, refusal: IssuanceRefusal?, now: Date, jitter: Double
    ) -> (entryID: String, isClosed: Bool)? {
        guard let entryID = self.underWay.removeValue(forKey: requestID) else { return nil }
        if let refusal, Self.mayPass(refusal) {
            let count = self.failures[entryID, default: 0]
            self.failures[entryID] = count + 1
            let wait = min(60, Double(1 << min(count, 6))) * (0.5 + 0.5 * jitter)
            self.states[entryID] = .resting
            self.deadlines.add(entryID, at: now.addingTimeInterval(wait))
            return (entryID, false)
        }
        self.changes += 1
        self.states[entryID] = nil
        self.failures[entryID] = nil
        return (entryID, true)
    }

    /// Takes up what has rested long enough.
    ///
    /// - Returns: Whether there is something to send.
    mutating func wake(now: Date) -> Bool {
        var hasNews = false
        while let entryID = self.deadlines.takeDue(now) {
            guard case .resting? = self.states[entryID] else { continue }
            self.states[entryID] = .queued
            self.queue.append(entryID)
            hasNews = true
        }
        return hasNews
    }

    /// A session has begun: all that is open is told anew.
    ///
    /// - Returns: The entries of reports that were closed: a server that is polled takes none.
    mutating func begin(isPush: Bool) -> [String] {
        self.isOffered = isPush
        self.underWay = [:]
        self.deadlines = DeadlineQueue()
        let entryIDs = self.states.keys.sorted()
        if isPush {
            for id in entryIDs { self.states[id] = .queued }
            self.queue = entryIDs
            return []
        }
        if !entryIDs.isEmpty { self.changes += 1 }
        self.states = [:]
        self.failures = [:]
        self.queue = []
        return entryIDs
    }

    /// The session has ended. Whether what was under way was heard is open; it is told again.
    mutating func disconnected() { self.isOffered = nil }

    /// gRPC's UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL and UNAVAILABLE.
    private static func mayPass(_ refusal: IssuanceRefusal) -> Bool {
        [2, 4, 8, 13, 14].contains(refusal.code)
    }
}
