import NIOConcurrencyHelpers
import Testing

@testable import AgentEndpoints

@Suite("work that may be left behind") struct AbandonableTests {
    private struct Late: Error {}

    /// Waits until it is told to go on, whatever becomes of its task.
    private final class Stubborn: Sendable {
        private let waiter = NIOLockedValueBox<CheckedContinuation<Void, Never>?>(nil)
        let hasBegun = NIOLockedValueBox(false)

        func wait() async {
            await withCheckedContinuation { waiter in
                self.waiter.withLockedValue { $0 = waiter }
                self.hasBegun.withLockedValue { $0 = true }
            }
        }

        func letGo() { self.waiter.withLockedValue { $0.take() }?.resume() }
    }

    @Test("what the work gives or throws is passed on")
    func passesOn() async throws {
        #expect(try await Abandonable<Int>(grace: .seconds(60)).run { 7 } == 7)
        await #expect(throws: Late.self) {
            try await Abandonable<Int>(grace: .seconds(60)).run { throw Late() }
        }
    }

    @Test("work that heeds the cancellation ends as it likes, without a wait")
    func heeds() async throws {
        let task = Task {
            try await Abandonable<Void>(grace: .seconds(3_600)).run {
                do { try await Task.sleep(for: .seconds(3_600)) } catch { throw Late() }
            }
        }
        task.cancel()
        await #expect(throws: Late.self) { try await task.value }
    }

    @Test("work that does not is left behind after the grace, and may end later")
    func leavesBehind() async throws {
        let work = Stubborn()
        let task = Task {
            try await Abandonable<Void>(grace: .milliseconds(10)).run { await work.wait() }
        }
        while !work.hasBegun.withLockedValue({ $0 }) { await Task.yield() }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        work.letGo()
    }

    @Test("what does not begin in time is left behind; what has begun may take longer")
    func beginning() async throws {
        let work = Stubborn()
        await #expect(throws: Late.self) {
            try await Beginning(within: .milliseconds(10), else: Late()).watch { await work.wait() }
        }
        work.letGo()
        let begun = Beginning(within: .milliseconds(10), else: Late())
        try await begun.watch {
            begun.note()
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}
