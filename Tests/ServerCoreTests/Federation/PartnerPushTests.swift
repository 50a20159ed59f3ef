import ServerCore
import Testing

@Suite struct PartnerPushTests {
    private static let ordinary = Duration.seconds(300)
    private static let minute = Duration.seconds(60)

    private func next(
        _ push: PartnerPush, jitter: Double = 0, canWait: Bool = true
    ) -> PartnerPush.Step {
        push.next(ordinary: Self.ordinary, jitter: jitter, canWait: canWait)
    }

    @Test func `an endpoint that does not offer to wait is asked at its hint`() {
        var push = PartnerPush()
        #expect(self.next(push) == .ask(after: Self.ordinary))
        push.asked(applied: nil)
        #expect(self.next(push) == .ask(after: Self.ordinary))
        for _ in 0..<10 { push.askingFailed() }
        #expect(self.next(push) == .ask(after: Self.ordinary), "FED-37")
    }

    @Test func `one that does is waited at, as long as it does`() {
        var push = PartnerPush()
        push.asked(applied: .zero)
        for _ in 0..<100 {
            #expect(self.next(push) == .wait(after: .zero))
            push.waited(isChanged: false, applied: Self.minute, elapsed: Self.minute)
        }
        push.waited(isChanged: true, applied: Self.minute, elapsed: .milliseconds(3))
        #expect(self.next(push) == .wait(after: .zero), "the next change is as quick")
        #expect(self.next(push, canWait: false) == .ask(after: Self.ordinary))
        // Its own bound may be shorter than ours.
        push.waited(isChanged: false, applied: .seconds(20), elapsed: .seconds(20))
        #expect(self.next(push) == .wait(after: .zero))
    }

    @Test func `changes without end are paced`() {
        var push = PartnerPush()
        push.asked(applied: Self.minute)
        for _ in 0..<8 {
            #expect(self.next(push) == .wait(after: .zero))
            push.waited(isChanged: true, applied: Self.minute, elapsed: .zero)
        }
        for _ in 0..<3 {
            #expect(self.next(push) == .wait(after: .seconds(10)))
            push.waited(isChanged: true, applied: Self.minute, elapsed: .zero)
        }
        push.waited(isChanged: false, applied: Self.minute, elapsed: Self.minute)
        #expect(self.next(push) == .wait(after: .zero), "time brings them back")
    }

    @Test func `an offer that is not kept leads back to the hint`() {
        var push = PartnerPush()
        for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
            push.asked(applied: .zero)
            #expect(self.next(push) != .ask(after: Self.ordinary), "it gets another chance")
            push.waited(isChanged: false, applied: Self.minute, elapsed: .milliseconds(1))
            #expect(self.next(push) == .ask(after: .seconds(pause)))
        }
        push.asked(applied: .zero)
        push.waited(isChanged: false, applied: Self.minute, elapsed: Self.minute)
        push.waited(isChanged: false, applied: nil, elapsed: Self.minute)
        #expect(self.next(push) == .ask(after: .seconds(5)), "it has no place any more")
        push.asked(applied: nil)
        #expect(self.next(push) == .ask(after: Self.ordinary), "it is another program now")
    }

    @Test func `a restart of the partner is found out soon`() {
        var push = PartnerPush()
        push.asked(applied: .zero)
        push.waitingFailed(elapsed: .seconds(30))
        #expect(self.next(push) == .ask(after: .seconds(5)))
        #expect(self.next(push, jitter: 1) == .ask(after: .milliseconds(2_500)), "spread")
        push.askingFailed()
        #expect(self.next(push) == .ask(after: .seconds(10)))
        push.asked(applied: .zero)
        #expect(self.next(push) == .wait(after: .zero))
        push.waited(isChanged: false, applied: Self.minute, elapsed: Self.minute)
        push.waitingFailed(elapsed: .zero)
        #expect(self.next(push) == .ask(after: .seconds(5)), "and counts from the start")
    }

    @Test func `no pause is longer than the hint, whatever happens`() {
        var push = PartnerPush()
        push.asked(applied: .zero)
        for _ in 0..<1_000 {
            push.waitingFailed(elapsed: .seconds(-1))
            guard
                case .ask(let pause) = push.next(
                    ordinary: .seconds(7), jitter: .nan, canWait: true)
            else {
                Issue.record("it does not offer to wait")
                return
            }
            #expect(pause <= .seconds(7) && pause >= .milliseconds(2_500))
        }
    }

    @Test func `nothing that an endpoint says makes it believable for longer than was asked`() {
        var push = PartnerPush()
        push.asked(applied: .seconds(Int64.max))
        push.waited(isChanged: false, applied: .seconds(Int64.max), elapsed: .seconds(30))
        #expect(self.next(push) == .wait(after: .zero), "half of the minute that we wait at most")
        push.waited(isChanged: false, applied: .zero, elapsed: .milliseconds(499))
        #expect(self.next(push) == .ask(after: .seconds(5)), "it cannot say that no time is enough")
    }
}
