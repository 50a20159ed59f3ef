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

    @Test("the addresses of one IPv6 network are one caller")
    func networks() {
        let time = ContinuousClock.now
        let budget = RefusalBudget(now: { time })
        #expect(
            (0..<250).filter { budget.takes("2001:db8:1:2::\(String($0, radix: 16))") }.count == 100
        )
        #expect(!budget.takes("2001:db8:1:2:ffff:ffff:ffff:ffff"))
        #expect(budget.takes("2001:db8:1:3::1"))
        #expect((0..<250).filter { budget.takes("192.0.2.\($0)") }.count == 250)
    }

    @Test(
        "what counts as one caller",
        arguments: [
            ("2001:db8::1", "2001:db8:0:0::/64"), ("2001:db8:0:0:9::", "2001:db8:0:0::/64"),
            ("fe80::1%eth0", "fe80:0:0:0::/64"), ("::1", "0:0:0:0::/64"),
            ("::ffff:192.0.2.7", "192.0.2.7"), ("192.0.2.7", "192.0.2.7"),
            ("spiffe://acme.test/spire/agent/x/1", "spiffe://acme.test/spire/agent/x/1"),
            ("uid:1000", "uid:1000"), ("self", "self"), ("", ""), (":", ":"),
            ("2001:db8::1::2", "2001:db8::1::2"),
        ])
    func counted(caller: String, expected: String) {
        #expect(CallerNetwork.counted(caller) == expected)
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
