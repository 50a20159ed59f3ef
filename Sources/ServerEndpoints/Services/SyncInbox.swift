import ControlPlaneProto
import GRPCCore

/// The agent's messages, first read by the call's task and then, for good, by one child of it.
// @unchecked: the iterator is used by one task at a time; the hand-over is the start of the child task.
final class SyncInbox: @unchecked Sendable {
    private var iterator: RPCAsyncSequence<Cygnet_Sync_V1_AgentMessage, any Error>.AsyncIterator

    init(_ sequence: RPCAsyncSequence<Cygnet_Sync_V1_AgentMessage, any Error>) {
        self.iterator = sequence.makeAsyncIterator()
    }

    func next() async throws -> Cygnet_Sync_V1_AgentMessage? { try await self.iterator.next() }
}
