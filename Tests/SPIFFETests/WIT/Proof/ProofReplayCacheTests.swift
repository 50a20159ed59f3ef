import Foundation
import SPIFFE
import Testing

@Suite("ProofReplayCache")
struct ProofReplayCacheTests {
    private let start = Date(timeIntervalSince1970: 1_800_000_000)
    private let alice: SPIFFEID
    private let bob: SPIFFEID

    init() throws {
        self.alice = try SPIFFEID("spiffe://acme.test/alice")
        self.bob = try SPIFFEID("spiffe://acme.test/bob")
    }

    private func use(_ sender: SPIFFEID, _ name: String, _ seconds: TimeInterval = 60) -> ProofUse {
        ProofUse(
            sender: sender, identifier: name, expiresAt: self.start.addingTimeInterval(seconds))
    }

    @Test("WIT-30: an identifier is fresh once for each sender")
    func once() {
        var cache = ProofReplayCache()
        #expect(cache.record(self.use(self.alice, "1"), now: self.start) == .fresh)
        #expect(cache.record(self.use(self.alice, "1"), now: self.start) == .replayed)
        #expect(cache.record(self.use(self.bob, "1"), now: self.start) == .fresh)
        #expect(cache.record(self.use(self.alice, "2"), now: self.start) == .fresh)
        #expect(cache.count == 3)
    }

    @Test("a proof is remembered until it has expired and not much longer")
    func forgetting() {
        var cache = ProofReplayCache()
        #expect(cache.record(self.use(self.alice, "1"), now: self.start) == .fresh)
        for seconds: TimeInterval in [30, 59.9, 60] {
            let now = self.start.addingTimeInterval(seconds)
            #expect(cache.record(self.use(self.alice, "1"), now: now) == .replayed)
        }
        let later = self.start.addingTimeInterval(62)
        #expect(cache.record(self.use(self.bob, "1", 120), now: later) == .fresh)
        #expect(cache.count == 1)
    }

    @Test("a clock that goes back forgets nothing")
    func clock() {
        var cache = ProofReplayCache()
        #expect(cache.record(self.use(self.alice, "1"), now: self.start) == .fresh)
        let past = self.start.addingTimeInterval(-86_400)
        #expect(cache.record(self.use(self.alice, "1"), now: past) == .replayed)
        let extremes = [Date.distantPast, .distantFuture]
        for date in extremes { _ = cache.record(self.use(self.bob, "\(date)"), now: date) }
    }

    @Test("a full cache refuses, and one sender cannot fill it for the others")
    func bounds() {
        var cache = ProofReplayCache(capacity: 3, capacityPerSender: 2)
        #expect(cache.record(self.use(self.alice, "1"), now: self.start) == .fresh)
        #expect(cache.record(self.use(self.alice, "2"), now: self.start) == .fresh)
        #expect(cache.record(self.use(self.alice, "3"), now: self.start) == .full)
        #expect(cache.record(self.use(self.alice, "1"), now: self.start) == .replayed)
        #expect(cache.record(self.use(self.bob, "1"), now: self.start) == .fresh)
        #expect(cache.record(self.use(self.bob, "2"), now: self.start) == .full)
        let later = self.start.addingTimeInterval(62)
        #expect(cache.record(self.use(self.alice, "3", 120), now: later) == .fresh)
    }
}
