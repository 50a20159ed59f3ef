import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

/// Waiting for partners. The bounds are far beyond what a test may take, so only being told ends a wait.
@Suite(.timeLimit(.minutes(1))) struct PartnerHoldersTests {
    private let holders = PartnerHolders(bound: .seconds(3_600), logger: TestPlane.logger)
    private let energy: TrustDomain
    private let water: TrustDomain

    init() throws {
        self.energy = try TrustDomain("energy.test")
        self.water = try TrustDomain("water.test")
    }

    private func note(_ trustDomain: TrustDomain, _ held: UInt64?) {
        self.holders.note(trustDomain, at: "10.0.0.1", holds: held, patience: .seconds(3_600))
    }

    private func waits(_ count: Int) async {
        while self.holders.waiting != count { await Task.yield() }
    }

    @Test func `nobody is waited for where nobody keeps the bundle`() async {
        await self.holders.awaitBundle(6)
        self.note(self.energy, 6)
        await self.holders.awaitBundle(6)
        #expect(self.holders.waiting == 0)
    }

    @Test func `who waits is told when the last partner has the version`() async {
        self.note(self.energy, 5)
        self.note(self.water, 5)
        async let first: Void = self.holders.awaitBundle(6)
        async let second: Void = self.holders.awaitBundle(7)
        await self.waits(2)
        self.note(self.energy, 6)
        self.note(self.water, nil)
        #expect(self.holders.isAwaited(6) && self.holders.waiting == 2)
        self.note(self.water, 6)
        await first
        await self.waits(1)
        #expect(!self.holders.isAwaited(6) && self.holders.isAwaited(7))
        self.note(self.energy, 8)
        self.note(self.water, 7)
        await second
        #expect(self.holders.waiting == 0)
    }

    @Test func `who is cancelled waits no longer`() async {
        self.note(self.energy, 5)
        let wait = Task { await self.holders.awaitBundle(6) }
        await self.waits(1)
        wait.cancel()
        await wait.value
        #expect(self.holders.waiting == 0 && self.holders.isAwaited(6))
    }

    @Test func `a partner that says nothing is left behind, and one that counts no more is gone`()
        async
    {
        for holders in [
            PartnerHolders(bound: .milliseconds(5), logger: TestPlane.logger),
            PartnerHolders(bound: .zero, logger: TestPlane.logger),
        ] {
            holders.note(self.energy, at: "a", holds: 5, patience: .seconds(3_600))
            await holders.awaitBundle(6)
            #expect(holders.waiting == 0)
        }
        // A row that is over at once, by a patience that takes its time back.
        self.holders.note(
            self.energy, at: "a", holds: 5,
            patience: .milliseconds(5) - PartnerHoldings.absence)
        await self.holders.awaitBundle(6)
        #expect(!self.holders.isAwaited(6))
    }
}
