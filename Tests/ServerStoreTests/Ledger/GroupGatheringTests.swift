import Testing

@testable import ServerStore

@Suite("How long a group waits for company")
struct GroupGatheringTests {
    private static func gathering(after count: Int) -> GroupGathering {
        var gathering = GroupGathering(bound: .milliseconds(2))
        gathering.note(count)
        return gathering
    }

    @Test("a lone append waits for nobody, nor does the first", arguments: [0, 1])
    func alone(_ last: Int) {
        #expect(!Self.gathering(after: last).waits(1, before: nil, waited: 0))
    }

    @Test("with company last time it waits, for as long as somebody comes")
    func company() {
        let gathering = Self.gathering(after: 2)
        #expect(gathering.waits(1, before: nil, waited: 0))
        #expect(gathering.waits(3, before: 1, waited: 200_000))
        #expect(!gathering.waits(3, before: 3, waited: 400_000))
    }

    @Test("where enough are in line it does not wait")
    func enough() {
        let gathering = Self.gathering(after: 100)
        #expect(gathering.waits(GroupGathering.enough - 1, before: nil, waited: 0))
        #expect(!gathering.waits(GroupGathering.enough, before: nil, waited: 0))
        #expect(!gathering.waits(GroupGathering.enough, before: 3, waited: 200_000))
    }

    @Test("the bound is kept, whatever it is", arguments: [0, 100_000, 1_000_000, 7_000_000])
    func bounds(_ bound: Int64) {
        var gathering = GroupGathering(bound: .nanoseconds(bound))
        gathering.note(8)
        var waited: UInt64 = 0
        // One more each time.
        while gathering.waits(1, before: waited == 0 ? nil : 0, waited: waited) {
            waited += GroupGathering.quiet
        }
        let most = min(UInt64(bound), 5_000_000)
        #expect(waited == most / GroupGathering.quiet * GroupGathering.quiet)
        #expect(GroupGathering(bound: .nanoseconds(-bound)).bound == 0)
        #expect(!gathering.waits(2, before: 1, waited: .max))
    }
}
