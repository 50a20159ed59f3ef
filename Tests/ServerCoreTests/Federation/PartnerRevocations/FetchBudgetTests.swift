import ServerCore
import Testing

@Suite("how much of a partner is taken") struct FetchBudgetTests {
    @Test("what is saved up is there at once, and what is fetched beyond it is waited for")
    func burst() {
        var budget = FetchBudget(burst: 1_000, bytesPerSecond: 100)
        #expect(budget.wait(now: .zero) == .zero)
        budget.spend(999, now: .zero)
        #expect(budget.wait(now: .zero) == .zero, "one byte is left")
        budget.spend(501, now: .zero)
        let wait = budget.wait(now: .zero)
        #expect(wait > .seconds(5) && wait < .seconds(5.1), "500 bytes are owed")
        #expect(budget.wait(now: wait) == .zero, "it is over when it says")
        #expect(budget.wait(now: .seconds(5)) > .zero)
    }

    @Test("time saves up as much as fits, and no more")
    func refill() {
        var budget = FetchBudget(burst: 1_000, bytesPerSecond: 100)
        budget.spend(1_000, now: .seconds(50))
        #expect(budget.wait(now: .seconds(50)) > .zero)
        budget.spend(999, now: .seconds(1_000_000))
        #expect(budget.wait(now: .seconds(1_000_000)) == .zero)
        budget.spend(2, now: .seconds(1_000_000))
        #expect(budget.wait(now: .seconds(1_000_000)) > .zero)
    }

    @Test("all the time no more than the rate comes, whatever is asked for when")
    func sustained() {
        var budget = FetchBudget(burst: 8 << 20, bytesPerSecond: 64 << 10)
        var (now, taken) = (Duration.zero, 0)
        // A list of 2 MiB, again and again, every ten seconds for a day.
        while now < .seconds(86_400) {
            if budget.wait(now: now) == .zero {
                budget.spend(2 << 20, now: now)
                taken += 2 << 20
            }
            now += .seconds(10)
        }
        #expect(taken <= (8 << 20) + (2 << 20) + 86_400 * (64 << 10))
        #expect(taken >= 86_400 * (64 << 10) - (2 << 20), "and what is due does come")
    }

    @Test("nothing negative, no rate of zero")
    func bounds() {
        var budget = FetchBudget(burst: 0, bytesPerSecond: 0)
        budget.spend(-1_000, now: .zero)
        #expect(budget.wait(now: .zero) == .zero)
        budget.spend(2, now: .zero)
        #expect(budget.wait(now: .zero) > .zero)
    }
}
