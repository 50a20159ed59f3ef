import SPIFFE
import Testing

@testable import ServerCore

@Suite struct PartnerHoldingsTests {
    private let energy: TrustDomain
    private let water: TrustDomain
    private static let minute = Duration.seconds(60)

    init() throws {
        self.energy = try TrustDomain("energy.test")
        self.water = try TrustDomain("water.test")
    }

    @Test func `nobody is waited for unless somebody waits`() {
        let holdings = PartnerHoldings()
        #expect(holdings.isDone(9, now: .zero) && holdings.pending(9, now: .zero).isEmpty)
    }

    @Test func `a partner has a version when it names it`() {
        var holdings = PartnerHoldings()
        holdings.note(self.energy, at: "10.0.0.1", holds: 5, patience: Self.minute, now: .zero)
        #expect(holdings.isDone(5, now: .seconds(1)) && !holdings.isDone(6, now: .seconds(1)))
        #expect(holdings.pending(6, now: .seconds(1)) == ["energy.test at 10.0.0.1"])
        // It is given version 6, and comes back with it.
        holdings.note(
            self.energy, at: "10.0.0.1", holds: nil, patience: Self.minute, now: .seconds(1))
        #expect(!holdings.isDone(6, now: .seconds(2)), "given is not stored")
        holdings.note(
            self.energy, at: "10.0.0.1", holds: 6, patience: Self.minute, now: .seconds(2))
        #expect(holdings.isDone(6, now: .seconds(2)))
    }

    @Test func `somebody else's word counts for themselves only`() {
        var holdings = PartnerHoldings()
        holdings.note(self.energy, at: "10.0.0.1", holds: 5, patience: Self.minute, now: .zero)
        holdings.note(self.energy, at: "10.6.6.6", holds: 6, patience: Self.minute, now: .zero)
        holdings.note(self.water, at: "10.0.0.1", holds: 6, patience: Self.minute, now: .zero)
        #expect(holdings.pending(6, now: .zero) == ["energy.test at 10.0.0.1"])
    }

    @Test func `whoever does not come back is gone`() {
        var holdings = PartnerHoldings()
        holdings.note(self.energy, at: "a", holds: 5, patience: Self.minute, now: .zero)
        #expect(!holdings.isDone(6, now: .seconds(69)) && holdings.isDone(6, now: .seconds(70)))
        holdings.note(self.water, at: "a", holds: nil, patience: Self.minute, now: .seconds(100))
        #expect(!holdings.isDone(6, now: .seconds(109)), "an answered one has less time")
        #expect(holdings.isDone(6, now: .seconds(110)))
        // What was said before the absence counts no more: the bundle may have started over.
        holdings.note(self.energy, at: "a", holds: nil, patience: Self.minute, now: .seconds(200))
        #expect(!holdings.isDone(5, now: .seconds(200)))
    }

    @Test func `a full table is waited for as if somebody were missing`() {
        var holdings = PartnerHoldings()
        for number in 0..<PartnerHoldings.maximum {
            holdings.note(
                self.energy, at: "\(number)", holds: 6, patience: Self.minute, now: .zero)
        }
        #expect(holdings.isDone(6, now: .zero))
        holdings.note(self.water, at: "a", holds: 6, patience: Self.minute, now: .zero)
        #expect(!holdings.isDone(6, now: .seconds(1)))
        #expect(holdings.isDone(6, now: .seconds(70)))
        holdings.note(self.water, at: "a", holds: 6, patience: Self.minute, now: .seconds(71))
        #expect(holdings.isDone(6, now: .seconds(72)), "those that are gone make room")
        #expect(holdings.pending(7, now: .seconds(72)) == ["water.test at a"])
    }

    @Test func `the end is when the last who lacks the version counts no more`() {
        var holdings = PartnerHoldings()
        #expect(holdings.end(6, now: .zero) == nil)
        holdings.note(self.energy, at: "a", holds: 5, patience: Self.minute, now: .zero)
        holdings.note(self.water, at: "a", holds: nil, patience: Self.minute, now: .seconds(20))
        holdings.note(self.water, at: "b", holds: 6, patience: Self.minute, now: .seconds(30))
        #expect(holdings.end(6, now: .seconds(30)) == .seconds(70))
        #expect(holdings.end(7, now: .seconds(30)) == .seconds(100))
        #expect(
            holdings.end(6, now: .seconds(70)) == nil && holdings.end(5, now: .zero) == .seconds(30)
        )
        holdings.note(
            self.energy, at: "a", holds: 6, patience: Self.minute, now: .seconds(31))
        #expect(holdings.end(6, now: .seconds(31)) == nil, "the other one's time is over")
        #expect(holdings.end(6, now: .seconds(29)) == .seconds(30))
    }
}
