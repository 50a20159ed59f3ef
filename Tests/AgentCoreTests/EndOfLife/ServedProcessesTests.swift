import Foundation
import SPIFFE
import Testing

@testable import AgentCore

@Suite("Processes that have SVIDs which end with them")
struct ServedProcessesTests {
    private typealias Key = ServedProcesses.Key

    @Test("only the end of the last process of an entry counts, and each entry by itself")
    func last() {
        var served = ServedProcesses()
        let (first, second) = (Key(pid: 1, startTime: 1), Key(pid: 2, startTime: 1))
        #expect(served.admit(first, uid: 0, entryIDs: ["a", "b"]) == .new)
        #expect(served.admit(second, uid: 0, entryIDs: ["a"]) == .new)
        #expect(served.admit(second, uid: 0, entryIDs: ["a"]) == .known)
        #expect(served.ended(first).entryIDs == ["b"])
        #expect(served.isServed("a") && !served.isServed("b"))
        #expect(served.ended(second).entryIDs == ["a"])
        #expect(served.ended(second).entryIDs == [], "once")
        #expect(served.count == 0)
    }

    @Test("a number that is used again is another process")
    func reusedNumber() {
        var served = ServedProcesses()
        let (old, new) = (Key(pid: 7, startTime: 1), Key(pid: 7, startTime: 2))
        #expect(served.admit(old, uid: 0, entryIDs: ["a"]) == .new)
        // The second has the number before the end of the first is heard of.
        #expect(served.admit(new, uid: 0, entryIDs: ["a"]) == .new)
        #expect(served.ended(old).entryIDs == [])
        #expect(served.ended(old).entryIDs == [])
        #expect(served.isServed("a"))
        #expect(served.ended(new).entryIDs == ["a"])
    }

    @Test("a process that is never entered ends without consequences")
    func unknown() {
        var served = ServedProcesses()
        #expect(served.ended(Key(pid: 1, startTime: 1)).entryIDs == [])
    }

    @Test("one user has no more than its share, and the others have theirs; ends give room")
    func bounds() {
        var served = ServedProcesses()
        for pid in 0..<ServedProcesses.maximumOfUser {
            let key = Key(pid: Int32(pid), startTime: 1)
            #expect(served.admit(key, uid: 1, entryIDs: ["a"]) == .new)
        }
        let more = Key(pid: -1, startTime: 1)
        #expect(served.admit(more, uid: 1, entryIDs: ["a"]) == .full)
        #expect(served.admit(Key(pid: 0, startTime: 1), uid: 1, entryIDs: ["b"]) == .known)
        #expect(served.admit(more, uid: 2, entryIDs: ["a"]) == .new)
        _ = served.ended(Key(pid: 5, startTime: 1))
        #expect(served.admit(Key(pid: -2, startTime: 1), uid: 1, entryIDs: ["a"]) == .new)
        for uid in UInt32(10)..<20 {
            for pid in 0..<ServedProcesses.maximumOfUser {
                let key = Key(pid: Int32(pid), startTime: UInt64(uid))
                _ = served.admit(key, uid: uid, entryIDs: ["a"])
            }
        }
        #expect(served.count == ServedProcesses.maximum)
    }
}

@Suite("Reports of the end of workloads")
struct WorkloadEndReportsTests {
    private let start = Date(timeIntervalSince1970: 1_900_000_000)

    private static func ids(_ requests: [SessionRequest]) -> [(request: UInt64, entry: String)] {
        requests.compactMap { request in
            if case .workloadEnd(let id, let entryID) = request { (id, entryID) } else { nil }
        }
    }

    @Test("told once, and closed by an answer")
    func once() {
        var reports = WorkloadEndReports()
        #expect(reports.begin(isPush: true) == [])
        #expect(reports.add("a") == true)
        #expect(reports.add("a") == false)
        let sent = Self.ids(reports.takeQueue())
        #expect(sent.map(\.entry) == ["a"])
        #expect(reports.takeQueue().isEmpty && reports.isOpen("a"))
        let answered = reports.answered(sent[0].request, refusal: nil, now: self.start, jitter: 1)
        #expect(answered?.entryID == "a" && answered?.isClosed == true)
        #expect(!reports.isOpen("a"))
        #expect(reports.answered(sent[0].request, refusal: nil, now: self.start, jitter: 1) == nil)
    }

    @Test(
        "what may pass is told again, later each time, up to a minute",
        arguments: [2, 4, 8, 13, 14])
    func again(code: Int) {
        var reports = WorkloadEndReports()
        _ = reports.begin(isPush: true)
        _ = reports.add("a")
        var now = self.start
        for wait in [1.0, 2, 4, 8, 16, 32, 60, 60] {
            let sent = Self.ids(reports.takeQueue())
            #expect(sent.map(\.entry) == ["a"])
            guard let first = sent.first else { return }
            let answered = reports.answered(
                first.request, refusal: IssuanceRefusal(code: code, message: "x"), now: now,
                jitter: 1)
            #expect(answered?.isClosed == false)
            #expect(reports.nextDeadline == now.addingTimeInterval(wait))
            #expect(reports.wake(now: now.addingTimeInterval(wait - 0.5)) == false)
            #expect(reports.takeQueue().isEmpty)
            now = now.addingTimeInterval(wait)
            #expect(reports.wake(now: now) == true)
        }
    }

    @Test("what will not pass closes the report", arguments: [3, 5, 7, 9, 12, 16])
    func closed(code: Int) {
        var reports = WorkloadEndReports()
        _ = reports.begin(isPush: true)
        _ = reports.add("a")
        let sent = Self.ids(reports.takeQueue())
        let answered = sent.first.flatMap {
            reports.answered(
                $0.request, refusal: IssuanceRefusal(code: code, message: "x"), now: self.start,
                jitter: 1)
        }
        #expect(answered?.isClosed == true && !reports.isOpen("a"))
    }

    @Test("a lost connection: everything that is open is told anew, under new numbers")
    func reconnected() {
        var reports = WorkloadEndReports()
        #expect(reports.add("early") == true, "before the first session")
        #expect(reports.takeQueue().isEmpty)
        _ = reports.begin(isPush: true)
        _ = reports.add("b")
        let first = Self.ids(reports.takeQueue())
        #expect(first.map(\.entry) == ["early", "b"])
        reports.disconnected()
        #expect(reports.add("away") && reports.takeQueue().isEmpty)
        _ = reports.begin(isPush: true)
        let second = Self.ids(reports.takeQueue())
        #expect(second.map(\.entry) == ["away", "b", "early"])
        #expect(Set(second.map(\.request)).isDisjoint(with: first.map(\.request)))
        #expect(reports.answered(first[0].request, refusal: nil, now: self.start, jitter: 1) == nil)
    }

    @Test("a server that is polled is told nothing, and nothing waits for it")
    func polled() {
        var reports = WorkloadEndReports()
        _ = reports.add("a")
        #expect(reports.begin(isPush: false) == ["a"])
        #expect(!reports.isOpen("a") && !reports.add("b") && reports.takeQueue().isEmpty)
    }

    @Test("no more than a few are under way at a time")
    func bounded() {
        var reports = WorkloadEndReports()
        _ = reports.begin(isPush: true)
        for number in 0..<100 { _ = reports.add("e\(number)") }
        let first = Self.ids(reports.takeQueue())
        #expect(first.count == WorkloadEndReports.maximumUnderWay)
        #expect(reports.takeQueue().isEmpty)
        _ = reports.answered(first[0].request, refusal: nil, now: self.start, jitter: 1)
        #expect(Self.ids(reports.takeQueue()).count == 1)
    }
}
