import SPIFFE

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Statements of workloads on their way to the server: who waits for which answer, and who has sent too many lately.
struct CustodyRequests: Sendable {
    typealias Waiter = CheckedContinuation<Result<Void, WorkloadRefusal>, Never>

    struct Request: Sendable {
        let statement: SignedCustodyStatement
        let receipt: CustodyReceipt?
        let waiter: Waiter
    }

    /// Statements under way at a time.
    static let maximum = 1_024
    /// Statements that one identity may send at once, and in each second from then on.
    static let burst = 100.0
    static let rate = 20.0
    /// Identities whose rate is remembered.
    private static let maximumRates = 4_096

    /// Whether the server of this session records statements; nil when there is no session.
    var isOffered: Bool?
    private var nextID: UInt64 = 1
    private var requests: [UInt64: Request] = [:]
    private var queue: [UInt64] = []
    private var deadlines = DeadlineQueue<UInt64>()
    private var rates: [SPIFFEID: (left: Double, at: Date)] = [:]

    /// When the soonest request has waited long enough.
    var nextDeadline: Date? { self.deadlines.next }

    /// Why a statement of that identity is not taken now; nil when it is, which counts.
    mutating func refusal(of signer: SPIFFEID, now: Date) -> WorkloadRefusal? {
        guard let isOffered else { return .serverAway }
        if !isOffered { return .noLedger }
        if self.requests.count >= Self.maximum { return .tooManyStatements }
        let known = self.rates[signer] ?? (Self.burst, now)
        let left = min(
            Self.burst, known.left + max(0, now.timeIntervalSince(known.at)) * Self.rate)
        if left < 1 { return .tooManyStatements }
        if self.rates.count >= Self.maximumRates, self.rates[signer] == nil {
            // Those that have been quiet long enough are as good as unknown.
            self.rates = self.rates.filter {
                $0.value.left + now.timeIntervalSince($0.value.at) * Self.rate < Self.burst
            }
            if self.rates.count >= Self.maximumRates { return .tooManyStatements }
        }
        self.rates[signer] = (left - 1, now)
        return nil
    }

    mutating func add(_ request: Request, until deadline: Date) {
        let id = self.nextID
        self.nextID += 1
        self.requests[id] = request
        self.queue.append(id)
        self.deadlines.add(id, at: deadline)
    }

    /// What is to be sent.
    mutating func takeQueue() -> [SessionRequest] {
        defer { self.queue = [] }
        return self.queue.compactMap { id in
            self.requests[id].map {
                .custody(requestID: id, statement: $0.statement, receipt: $0.receipt)
            }
        }
    }

    /// Answers one request; one that nobody waits for any more is passed over.
    mutating func answer(_ id: UInt64, _ result: Result<Void, WorkloadRefusal>) {
        self.requests.removeValue(forKey: id)?.waiter.resume(returning: result)
    }

    /// Answers all that have waited long enough.
    mutating func expire(now: Date) {
        while let id = self.deadlines.takeDue(now) { self.answer(id, .failure(.serverAway)) }
    }

    /// The session has ended. Whether what was under way is recorded is open; it may be sent again.
    mutating func disconnected(_ refusal: WorkloadRefusal) {
        self.isOffered = nil
        self.queue = []
        for id in Array(self.requests.keys) { self.answer(id, .failure(refusal)) }
    }
}

extension WorkloadRefusal {
    static let serverAway = WorkloadRefusal(
        .unavailable, "the agent's server cannot be asked now; the call may be repeated")
    package static let noLedger = WorkloadRefusal(
        .unimplemented, "the agent's server keeps no ledger")
    static let tooManyAttempts = WorkloadRefusal(
        .exhausted, "too many statements of this user at once; those that do not hold count tenfold"
    )
    static let tooManyStatements = WorkloadRefusal(
        .unavailable, "too many statements at once; try again later")
}
