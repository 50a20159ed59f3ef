import ControlPlaneProto
import GRPCCore
import ServerCore

/// The way back to the agent, for several tasks: one message at a time, in the order of the calls.
actor SyncOutbox {
    private let writer: RPCWriter<Cygnet_Sync_V1_ServerMessage>
    private var isWriting = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    private let session: SyncSession

    init(_ writer: RPCWriter<Cygnet_Sync_V1_ServerMessage>, _ session: SyncSession) {
        self.writer = writer
        self.session = session
    }

    /// - Throws: why the session has ended, when it has: what was signed in the meantime stays here.
    func write(_ message: Cygnet_Sync_V1_ServerMessage) async throws {
        if self.isWriting {
            await withCheckedContinuation { self.waiting.append($0) }
        }
        self.isWriting = true
        defer {
            if self.waiting.isEmpty {
                self.isWriting = false
            } else {
                self.waiting.removeFirst().resume()
            }
        }
        try self.session.requireOpen()
        try await self.writer.write(message)
    }
}
