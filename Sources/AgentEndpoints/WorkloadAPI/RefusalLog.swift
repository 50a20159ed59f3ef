import AgentCore
import Logging
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE

/// Says in the log why a workload got no identity: what was attested, and the entry that came
/// closest. The workload is never told.
///
/// Clients that are refused ask again and again, so each process is mentioned once a minute at
/// most.
final class RefusalLog: Sendable {
    private struct Caller: Hashable {
        let pid: Int32
        let startTime: UInt64
    }

    private static let interval = Duration.seconds(60)
    private static let capacity = 1024

    private let identities: WorkloadIdentities
    private let logger: Logger
    private let events: (any AgentEvents)?
    private let mentioned = NIOLockedValueBox<[Caller: ContinuousClock.Instant]>([:])
    /// Of those who came with a statement of somebody else; no other refusal keeps that out of the log.
    private let foreign = NIOLockedValueBox<[Caller: ContinuousClock.Instant]>([:])

    init(identities: WorkloadIdentities, logger: Logger, events: (any AgentEvents)?) {
        self.identities = identities
        self.logger = logger
        self.events = events
    }

    /// A process wants a statement of somebody else recorded.
    func recordForeign(_ signer: SPIFFEID, _ process: any WorkloadProcess) {
        guard Self.isDue(process, self.foreign) else { return }
        self.logger.warning(
            "custody statement refused: the caller is not its signer",
            metadata: [
                LogKeys.pid: "\(process.pid)", LogKeys.uid: "\(process.uid)",
                LogKeys.spiffeID: "\(signer)",
            ])
    }

    func record(
        _ refusal: WorkloadRefusal, _ process: any WorkloadProcess, _ selectors: Set<Selector>
    ) {
        guard refusal.code == .noIdentity else {
            self.logger.debug(
                "workload not served",
                metadata: [LogKeys.pid: "\(process.pid)", LogKeys.reason: "\(refusal)"])
            return
        }
        if !Self.isDue(process, self.mentioned) { return }
        let nearest = self.identities.nearestEntry(to: selectors)
        let attested = selectors.sorted()
        var metadata: Logger.Metadata = [
            LogKeys.pid: "\(process.pid)", LogKeys.uid: "\(process.uid)",
            LogKeys.selectors: .array(attested.map { "\($0)" }),
        ]
        if let nearest {
            metadata[LogKeys.nearestEntry] = "\(nearest.entryID)"
            metadata[LogKeys.spiffeID] = "\(nearest.spiffeID)"
            metadata[LogKeys.missingSelectors] = .array(nearest.missing.map { "\($0)" })
        } else {
            metadata[LogKeys.reason] = "no entry shares a selector with this process"
        }
        self.logger.warning("no identity issued", metadata: metadata)
        self.events?.record(
            .refused(pid: process.pid, selectors: attested, nearest: nearest, refusal: refusal))
    }

    /// Whether the process is to be mentioned now.
    private static func isDue(
        _ process: any WorkloadProcess,
        _ mentioned: NIOLockedValueBox<[Caller: ContinuousClock.Instant]>
    ) -> Bool {
        let caller = Caller(pid: process.pid, startTime: process.startTime)
        let now = ContinuousClock.now
        return mentioned.withLockedValue { mentioned in
            if let last = mentioned[caller], last.duration(to: now) < Self.interval { return false }
            if mentioned.count >= Self.capacity {
                mentioned = mentioned.filter { $0.value.duration(to: now) < Self.interval }
                if mentioned.count >= Self.capacity { mentioned.removeAll() }
            }
            mentioned[caller] = now
            return true
        }
    }
}
