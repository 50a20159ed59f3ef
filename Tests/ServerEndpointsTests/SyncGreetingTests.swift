import ControlPlaneProto
import ServerCore
import SwiftProtobuf
import Testing

@testable import ServerEndpoints

@Suite(.timeLimit(.minutes(1))) struct SyncGreetingTests {
    private typealias Message = Cygnet_Sync_V1_AgentMessage

    /// A clock on which every wait is over at once, or lasts until it is cancelled.
    private struct StillClock: Clock {
        let isOver: Bool
        var now: ContinuousClock.Instant { ContinuousClock.now }
        var minimumResolution: Duration { .zero }

        func sleep(until deadline: ContinuousClock.Instant, tolerance: Duration?) async throws {
            if self.isOver { return }
            try await SyncGreetingTests.forever()
        }
    }

    /// Lasts until the task is cancelled.
    private static func forever() async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        for await _ in stream {}
        withExtendedLifetime(continuation) {}
        throw CancellationError()
    }

    @Test func `an agent that says nothing is not waited for longer than the limit`() async {
        let error = await #expect(throws: ServerError.self) {
            _ = try await SyncGreeting.hello(on: StillClock(isOver: true)) {
                try await Self.forever()
                return nil
            }
        }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("within") == true)
    }

    @Test func `hello in time is taken, and the clock is left alone`() async throws {
        let hello = try await SyncGreeting.hello(on: StillClock(isOver: false)) {
            Message.with { $0.hello = .with { $0.agentVersion = "1.2.3" } }
        }
        #expect(hello.agentVersion == "1.2.3")
    }

    @Test func `anything else is refused at once`() async {
        for message in [
            nil, Message(), Message.with { $0.resync = .init() },
            Message.with {
                $0.hello = .with { $0.agentVersion = String(repeating: "1", count: 256) }
            },
        ] {
            let error = await #expect(throws: ServerError.self) {
                _ = try await SyncGreeting.hello(on: StillClock(isOver: false)) { message }
            }
            #expect(error?.code == .invalidArgument)
        }
    }
}
