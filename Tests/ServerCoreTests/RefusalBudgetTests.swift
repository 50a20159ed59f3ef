import NIOConcurrencyHelpers
import Testing

@testable import ServerCore

@Suite("What is recorded of those who are refused")
struct RefusalBudgetTests {
    @Test("a hundred at once, ten a second, each caller for itself")
    func budget() {
        let time = NIOLockedValueBox(ContinuousClock.now)
        let budget = RefusalBudget(now: { time.withLockedValue { $0 } })
        #expect((0..<250).filter { _ in budget.takes("a") }.count == 100)
        #expect(budget.takes("b"))
        time.withLockedValue { $0 += .seconds(2) }
        #expect((0..<250).filter { _ in budget.takes("a") }.count == 20)
        time.withLockedValue { $0 += .seconds(3_600) }
        #expect((0..<250).filter { _ in budget.takes("a") }.count == 100)
    }

    @Test("many callers have no more room than a few, until a minute has passed")
    func callers() {
        let time = NIOLockedValueBox(ContinuousClock.now)
        let budget = RefusalBudget(now: { time.withLockedValue { $0 } })
        #expect((0..<5_000).filter { budget.takes("caller \($0)") }.count == 4_096)
        #expect(!budget.takes("late"))
        #expect(budget.takes("caller 7"))
        time.withLockedValue { $0 += .seconds(61) }
        #expect(budget.takes("late"))
    }
}
