import ControlPlaneProto
import ServerCore

/// The first message on the stream of an agent. Until it has come the stream is no session: nobody counts it, and a ban
/// does not end it. So it must come soon.
enum SyncGreeting {
    /// How long an agent may take.
    static let limit = Duration.seconds(10)

    /// Reads the first message.
    ///
    /// - Parameters:
    ///   - clock: What the limit is measured with.
    ///   - next: Gives the next message; must end when its task is cancelled.
    /// - Throws: ``ServerError`` `invalidArgument` when it is another one, or none in time.
    static func hello(
        on clock: some Clock<Duration>,
        _ next: @escaping @Sendable () async throws -> Cygnet_Sync_V1_AgentMessage?
    ) async throws -> Cygnet_Sync_V1_Hello {
        let first = try await withThrowingTaskGroup(of: Cygnet_Sync_V1_AgentMessage?.self) {
            group in
            group.addTask { try await next() }
            group.addTask {
                try await clock.sleep(for: Self.limit)
                throw ServerError(
                    .invalidArgument,
                    "the first message must be hello, and come within \(Self.limit)"
                )
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        guard case .hello(let hello)? = first?.message else {
            throw ServerError(.invalidArgument, "the first message must be hello")
        }
        guard hello.agentVersion.utf8.count <= 255 else {
            throw ServerError(.invalidArgument, "agent version is longer than 255 bytes")
        }
        return hello
    }
}
