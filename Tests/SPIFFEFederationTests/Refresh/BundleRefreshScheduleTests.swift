import SPIFFE
import SPIFFEFederation
import Testing

/// Chance that always says the same.
struct FixedChance: RandomNumberGenerator {
    let value: UInt64
    mutating func next() -> UInt64 { self.value }
}

@Suite("Refresh schedule") struct BundleRefreshScheduleTests {
    private func exact() -> BundleRefreshSchedule.Limits {
        var limits = BundleRefreshSchedule.Limits()
        limits.jitter = 0
        return limits
    }

    @Test("FED-31, BND-12: the hint is followed; without one it is five minutes")
    func hints() {
        var schedule = BundleRefreshSchedule(limits: self.exact())
        #expect(schedule.interval == .seconds(300))
        #expect(schedule.succeeded(hint: .seconds(120)) == .seconds(120))
        #expect(schedule.succeeded(hint: .seconds(3600)) == .seconds(3600))
        #expect(schedule.succeeded(hint: nil) == .seconds(300))
    }

    @Test("BND-11: absurd hints are clamped, without overflow and without a busy loop")
    func absurdHints() {
        for jitter in [0, 0.1, 1, 7] {
            var limits = BundleRefreshSchedule.Limits()
            limits.jitter = jitter
            var schedule = BundleRefreshSchedule(limits: limits)
            for seconds in [Int64.min, -1, 0, 1] {
                #expect(schedule.succeeded(hint: .seconds(seconds)) <= .seconds(60))
                #expect(schedule.interval == .seconds(60))
            }
            for seconds in [1_000_000_000_000, Int64.max] {
                #expect(schedule.succeeded(hint: .seconds(seconds)) <= .seconds(86_400))
                #expect(schedule.interval == .seconds(86_400))
            }
        }
        var limits = self.exact()
        limits.minimumInterval = .zero
        var schedule = BundleRefreshSchedule(limits: limits)
        #expect(schedule.succeeded(hint: .zero) == .seconds(1))
    }

    @Test("Chance makes a wait shorter, by a tenth at most, and never longer")
    func jitter() {
        var schedule = BundleRefreshSchedule()
        var low = FixedChance(value: 0)
        var high = FixedChance(value: .max)
        #expect(schedule.succeeded(hint: .seconds(1000), using: &low) == .seconds(1000))
        let shortest = schedule.succeeded(hint: .seconds(1000), using: &high)
        #expect(shortest >= .milliseconds(899_999) && shortest < .seconds(901))
        var waits: Set<Duration> = []
        for _ in 0..<100 {
            let wait = schedule.succeeded(hint: .seconds(1000))
            #expect(wait >= .milliseconds(899_999) && wait <= .seconds(1000))
            waits.insert(wait)
        }
        #expect(waits.count > 1)
    }

    @Test("FED-37: after a failure the next look is at the next interval, however often it fails")
    func failures() {
        var schedule = BundleRefreshSchedule(limits: self.exact())
        _ = schedule.succeeded(hint: .seconds(120))
        for number in 1...100 {
            #expect(schedule.failed() == .seconds(120))
            #expect(schedule.failures == number)
        }
        #expect(schedule.succeeded(hint: .seconds(90)) == .seconds(90))
        #expect(schedule.failures == 0)
    }

    @Test("FED-37: before the first success waits double up to the interval")
    func firstFailures() {
        var schedule = BundleRefreshSchedule(limits: self.exact())
        let waits = (0..<9).map { _ in schedule.failed() }
        #expect(waits == [5, 10, 20, 40, 80, 160, 300, 300, 300].map { .seconds($0) })
        var limits = self.exact()
        limits.firstRetry = .zero
        schedule = BundleRefreshSchedule(limits: limits)
        #expect(schedule.failed() == .seconds(1))
    }

    @Test("An endpoint that asks to be left alone is left alone, up to the longest wait")
    func retryAfter() {
        var schedule = BundleRefreshSchedule(limits: self.exact())
        _ = schedule.succeeded(hint: .seconds(120))
        #expect(schedule.failed(retryAfter: .seconds(30)) == .seconds(120))
        #expect(schedule.failed(retryAfter: .seconds(600)) == .seconds(600))
        #expect(schedule.failed(retryAfter: .seconds(Int64.max)) == .seconds(86_400))
        #expect(schedule.failed(retryAfter: .seconds(-5)) == .seconds(120))
    }
}
