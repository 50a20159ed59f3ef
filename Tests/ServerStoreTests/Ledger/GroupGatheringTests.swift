import Testing

@testable import ServerStore

@Suite("How long a group waits for company")
struct GroupGatheringTests {
    private static let bound = UInt64(2_000_000)

    private static func gathering() -> GroupGathering {
        GroupGathering(bound: .nanoseconds(Int64(self.bound)))
    }

    @Test("a lone append waits for nobody, nor does one after lone ones")
    func alone() {
        var gathering = Self.gathering()
        for _ in 0..<10 {
            #expect(gathering.wait(1) == 0)
            gathering.note(1, waited: 0, lastArrival: 0)
        }
    }

    @Test("where more are in line than came last time nobody else is expected")
    func enough() {
        var gathering = Self.gathering()
        gathering.note(3, waited: 0, lastArrival: 0)
        #expect(gathering.wait(4) == 0)
        #expect(gathering.wait(3) == GroupGathering.least)
        #expect(gathering.wait(1) == GroupGathering.least)
    }

    @Test("it grows while appends arrive to its end, up to the bound")
    func growing() {
        var gathering = Self.gathering()
        gathering.note(8, waited: 0, lastArrival: 0)
        var waits: [UInt64] = []
        for _ in 0..<10 {
            let wait = gathering.wait(1)
            waits.append(wait)
            gathering.note(8, waited: wait, lastArrival: wait)
        }
        #expect(waits[1] == GroupGathering.least * 3 / 2)
        #expect(waits == waits.sorted() && waits.last == Self.bound)
    }

    @Test("it shrinks to what was needed, and not below the least")
    func shrinking() {
        var gathering = Self.gathering()
        gathering.note(8, waited: 0, lastArrival: 0)
        for _ in 0..<10 {
            gathering.note(8, waited: gathering.length, lastArrival: gathering.length)
        }
        #expect(gathering.length == Self.bound)
        gathering.note(8, waited: gathering.length, lastArrival: 400_000)
        #expect(gathering.length == 600_000)
        // More than half of it was needed: that is right.
        gathering.note(8, waited: gathering.length, lastArrival: 400_000)
        #expect(gathering.length == 600_000)
        gathering.note(8, waited: gathering.length, lastArrival: 0)
        #expect(gathering.length == GroupGathering.least)
    }

    @Test("an arrival later than the wait, as on a machine that was busy, is one at its end")
    func late() {
        var gathering = Self.gathering()
        gathering.note(8, waited: gathering.length, lastArrival: .max)
        #expect(gathering.length == GroupGathering.least * 3 / 2)
    }

    @Test("the bound is kept, whatever it is", arguments: [0, 100_000, 7_000_000] as [Int64])
    func bounds(_ bound: Int64) {
        var gathering = GroupGathering(bound: .nanoseconds(bound))
        for _ in 0..<20 {
            gathering.note(8, waited: gathering.length, lastArrival: gathering.length)
        }
        #expect(gathering.wait(1) == min(UInt64(bound), 5_000_000))
        #expect(GroupGathering(bound: .nanoseconds(-bound)).bound == 0)
    }
}
