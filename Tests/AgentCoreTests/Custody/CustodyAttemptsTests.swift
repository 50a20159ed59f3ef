import Foundation
import Testing

@testable import AgentCore

@Suite struct CustodyAttemptsTests {
    private let start = Date(timeIntervalSince1970: 1_900_000_000)

    /// How many more are looked at now.
    private func taken(
        _ attempts: inout CustodyAttempts, user: UInt32, at now: Date, failing: Bool = false
    ) -> Int {
        var count = 0
        while count < 5_000, attempts.takes(user: user, now: now) {
            count += 1
            if failing { attempts.failed(user: user, now: now) }
        }
        return count
    }

    @Test func `a user has a thousand at once and two hundred a second`() {
        var attempts = CustodyAttempts()
        #expect(self.taken(&attempts, user: 1, at: self.start) == 1_000)
        #expect(self.taken(&attempts, user: 1, at: self.start.addingTimeInterval(1)) == 200)
        #expect(self.taken(&attempts, user: 1, at: self.start.addingTimeInterval(100)) == 1_000)
    }

    @Test func `those that do not hold count tenfold`() {
        var attempts = CustodyAttempts()
        #expect(self.taken(&attempts, user: 1, at: self.start, failing: true) == 100)
        let later = self.start.addingTimeInterval(1)
        #expect((19...21).contains(self.taken(&attempts, user: 1, at: later, failing: true)))
    }

    @Test func `one user's do not hold up another one`() {
        var attempts = CustodyAttempts()
        _ = self.taken(&attempts, user: 1, at: self.start, failing: true)
        #expect(self.taken(&attempts, user: 2, at: self.start) == 1_000)
        #expect(self.taken(&attempts, user: 1, at: self.start) == 0)
    }

    @Test func `a clock that goes back gives nothing`() {
        var attempts = CustodyAttempts()
        _ = self.taken(&attempts, user: 1, at: self.start)
        #expect(self.taken(&attempts, user: 1, at: self.start.addingTimeInterval(-10)) == 0)
    }

    @Test func `users that are quiet make room for others, and busy ones are not forgotten`() {
        var attempts = CustodyAttempts()
        for user in 0..<UInt32(CustodyAttempts.maximumUsers) {
            let isTaken = attempts.takes(user: user, now: self.start)
            #expect(isTaken)
        }
        _ = self.taken(&attempts, user: 7, at: self.start, failing: true)
        let early = attempts.takes(user: 10_000, now: self.start)
        #expect(!early, "nobody has been quiet")
        let later = self.start.addingTimeInterval(1)
        let late = attempts.takes(user: 10_000, now: later)
        #expect(late)
        #expect(self.taken(&attempts, user: 7, at: later) <= 200)
    }
}
