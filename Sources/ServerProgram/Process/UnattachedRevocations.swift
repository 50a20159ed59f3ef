import Logging
import ServerCore
import Transparency

/// Writes the events of revocations to the log, where there is no ledger.
struct LoggedEvents: EventRecorder {
    let logger: Logger

    func append(_ events: [LeafEvent]) async throws { self.enqueue(events) }

    func enqueue(_ events: [LeafEvent]) {
        for event in events { self.logger.notice("event", metadata: ["type": "\(event.type)"]) }
    }
}

/// No agent that is told of revocations, so nobody to wait for.
struct NoRevocationHolders: RevocationHolders {
    func wait(number: UInt64, timeout: Duration) async -> RevocationConfirmations {
        RevocationConfirmations(agents: 0, confirmed: 0, lastConfirmation: nil, waitingFor: [])
    }
}
