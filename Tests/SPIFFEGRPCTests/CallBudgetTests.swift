import Testing

@testable import SPIFFEGRPC

@Suite("Budget of calls") struct CallBudgetTests {
    private typealias Load = CallBudget.Load

    @Test(
        "one user's calls and bytes are counted over all connections, and nobody else pays for them"
    )
    func users() {
        let budget = CallBudget(.init(callsPerUser: 3, heldBytesPerUser: 100))
        let (one, other) = (ConnectionOrigin.user(1000), ConnectionOrigin.user(1001))
        let none = Load()
        let two = Load(calls: 2, heldBytes: 60)
        #expect(budget.update(one, from: none, to: two) == .init())
        let verdict = budget.update(one, from: none, to: two)
        #expect(verdict == .init(hasTooManyCalls: true, holdsTooMuch: true))
        #expect(budget.update(other, from: none, to: two) == .init())
        for origin in [ConnectionOrigin.ipv4(0x7F00_0001), nil] {
            let many = Load(calls: 1000, heldBytes: 1000)
            #expect(budget.update(origin, from: none, to: many) == .init())
        }
        // Root is the usual user in a container, and no exception.
        #expect(
            budget.update(.user(0), from: none, to: Load(calls: 4, heldBytes: 0))
                == .init(hasTooManyCalls: true))
        // One of the two connections ends.
        #expect(budget.update(one, from: two, to: none) == .init())
        #expect(budget.update(one, from: two, to: Load(calls: 3, heldBytes: 100)) == .init())
        let more = budget.update(
            one, from: Load(calls: 3, heldBytes: 100), to: Load(calls: 4, heldBytes: 100))
        #expect(more == .init(hasTooManyCalls: true))
    }

    @Test("all together have limits, too, root included")
    func all() {
        let budget = CallBudget(.init(calls: 3, heldBytes: 100))
        let two = Load(calls: 2, heldBytes: 60)
        #expect(budget.update(.user(0), from: Load(), to: two) == .init())
        let verdict = budget.update(.user(1000), from: Load(), to: two)
        #expect(verdict == .init(hasTooManyCalls: true, holdsTooMuch: true))
        #expect(budget.update(.user(0), from: two, to: Load()) == .init())
    }
}
