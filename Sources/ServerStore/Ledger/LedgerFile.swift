import Dispatch
package import Foundation
import NIOConcurrencyHelpers
import ServerCore
package import Transparency

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The ledger in a folder: makes leaves durable for many callers at once, and publishes tiles and checkpoints.
///
/// Appends that wait are written and synced together with one signature. A lone caller never waits for company.
/// Tiles and the checkpoint that others read follow some time later, on another queue, so that no issuance waits for
/// them. After a write that failed nothing is acknowledged until the state was read from disk and repaired; that is
/// tried again with the next append, and by itself.
package final class LedgerFile: EventRecorder, LedgerStatus {
    /// What can be chosen.
    package struct Settings: Sendable, Hashable {
        /// How long a group of appends waits for company at most, when the one before it had some; at most 5 ms.
        package var gathering = Duration.milliseconds(2)
        /// How long after a leaf was acknowledged others can read it, at the latest.
        package var publicationDelay = Duration.milliseconds(200)
        /// How many leaves are published without waiting for that.
        package var leavesPerPublication = 4096
        /// How long the journal may grow, in bytes.
        package var journalBytes = 16 << 20
        /// How long after a failure the disk is not asked again.
        package var retryInterval = Duration.seconds(1)

        package init() {}
    }

    struct Pending: Sendable {
        let leaves: [[UInt8]]
        /// Nil for leaves that nobody waits for.
        let continuation: CheckedContinuation<Void, any Error>?
    }

    struct State {
        var waiting: [Pending] = []
        var isScheduled = false
        /// Whether a group waits for company, and is to be told when there is enough.
        var isGathering = false
        var isRetryScheduled = false
        /// What the next append is told.
        var refusal: ServerError?
        /// Why the last write failed; nil when it did not.
        var failure: String?
        var size: UInt64 = 0
        var publishedSize: UInt64 = 0
        var publication = PublicationState.none
        /// Those who follow publications.
        var listeners: [Int: AsyncStream<Void>.Continuation] = [:]
        var lastListener = 0
    }

    enum PublicationState {
        case none, later, now
    }

    /// What one group at a time changes.
    struct Core {
        var journal: LedgerJournal
        /// Leaves that nobody waits for and that are not durable yet, because a write failed.
        var carried: [[UInt8]] = []
        /// For an append that failed: the size that the log has when it was stored all the same, and how many of the
        /// leaves that are carried are in it then.
        var doubtful: (size: UInt64, carried: Int?)?
        var lastRecovery: ContinuousClock.Instant?
        var gathering: GroupGathering
    }

    let folder: String
    let storage: any LedgerStorage
    let settings: Settings
    let state: NIOLockedValueBox<State>
    let core: NIOLockedValueBox<Core>
    /// Held by whoever writes other files than the journal; the number of recoveries. Taken after `core`, never
    /// before it.
    let files = NIOLockedValueBox(0)
    let queue = DispatchQueue(label: "cygnet.ledger")
    /// Tells a group that waits that there is company enough.
    let company = DispatchSemaphore(value: 0)
    let publisher = DispatchQueue(label: "cygnet.ledger.publisher")
    private let lock: FileLock?
    private let signer: NoteSigner
    private let now: @Sendable () -> Date

    /// Opens the ledger in a folder, and creates both where there is none; the folder above must exist.
    ///
    /// - Parameters:
    ///   - folder: For the ledger alone.
    ///   - signer: The log's key; its name is the log's.
    ///   - now: The clock for the leaves' times.
    /// - Throws: ``ServerError``: `failedPrecondition` when another process has the folder, or when the ledger in it is
    ///   that of another key or does not hold together; `unavailable` when it cannot be read or written.
    package convenience init(
        folder: String, signer: NoteSigner, settings: Settings = Settings(),
        now: @escaping @Sendable () -> Date = { Date() }
    ) throws {
        let storage: DiskStorage
        do throws(LedgerStorageError) {
            storage = try DiskStorage(folder: folder)
        } catch {
            throw ServerError(.unavailable, "cannot open ledger: \(error.message)")
        }
        let lock = try FileLock(path: folder + "/" + LedgerPath.lock, what: "ledger \(folder)")
        try self.init(
            folder: folder, storage: storage, lock: lock, signer: signer, settings: settings,
            now: now)
    }

    /// The same on any storage; `lock` keeps others away for as long as this lives.
    init(
        folder: String, storage: any LedgerStorage, lock: FileLock?, signer: NoteSigner,
        settings: Settings, now: @escaping @Sendable () -> Date
    ) throws {
        self.folder = folder
        self.storage = storage
        self.lock = lock
        self.signer = signer
        self.settings = settings
        self.now = now
        do {
            let journal = try LedgerJournal(storage, signer: signer)
            self.core = NIOLockedValueBox(
                Core(journal: journal, gathering: GroupGathering(bound: settings.gathering)))
            self.state = NIOLockedValueBox(
                State(size: journal.size, publishedSize: journal.size))
        } catch let error as TransparencyError {
            throw Self.openingError(error, folder: folder, key: signer.key)
        } catch let error as LedgerStorageError {
            throw ServerError(
                .unavailable,
                "cannot open ledger \(folder): \(error.message); repair the disk or free space")
        }
    }

    /// The public half of the log's key.
    package var key: VerifierKey { self.signer.key }
    /// How many leaves are acknowledged.
    package var size: UInt64 { self.state.withLockedValue { $0.size } }
    /// How many leaves others can read.
    package var publishedSize: UInt64 { self.state.withLockedValue { $0.publishedSize } }
    /// Why leaves cannot be recorded, as far as is known; nil while they can.
    package var health: String? { self.state.withLockedValue { $0.failure } }

    // MARK: Recording

    package func append(_ events: [LeafEvent]) async throws {
        let leaves = try self.encode(events)
        try await withCheckedThrowingContinuation {
            (continuation: CheckedContinuation<Void, any Error>) in
            self.line(Pending(leaves: leaves, continuation: continuation))
        }
    }

    package func enqueue(_ events: [LeafEvent]) {
        do {
            self.line(Pending(leaves: try self.encode(events), continuation: nil))
        } catch {
            self.state.withLockedValue { $0.refusal = error }
        }
    }

    /// The leaves' bytes. Made by the caller, so that many do it at once.
    private func encode(_ events: [LeafEvent]) throws(ServerError) -> [[UInt8]] {
        let time = LeafTime(self.now())
        var leaves: [[UInt8]] = []
        leaves.reserveCapacity(events.count)
        for event in events {
            do throws(TransparencyError) {
                leaves.append(try Leaf(time: time, event: event).encode())
            } catch {
                throw ServerError(
                    .invalidArgument, "issuance refused: cannot record it: \(error.message)")
            }
        }
        return leaves
    }

    private func line(_ pending: Pending) {
        let (isFirst, isEnough) = self.state.withLockedValue { state in
            state.waiting.append(pending)
            let isEnough = state.isGathering && state.waiting.count >= GroupGathering.enough
            if isEnough { state.isGathering = false }
            defer { state.isScheduled = true }
            return (!state.isScheduled, isEnough)
        }
        if isEnough { self.company.signal() }
        if isFirst { self.queue.async { self.drain() } }
    }

    private static func openingError(
        _ error: TransparencyError, folder: String, key: VerifierKey
    ) -> ServerError {
        switch error.code {
        case .notSigned, .wrongSignature, .wrongOrigin:
            ServerError(
                .failedPrecondition,
                "ledger \(folder) is not that of the key \(key): \(error.message); restore the key \"ledger\" of "
                    + "the key manager, or move the folder away to begin another log")
        default:
            ServerError(.failedPrecondition, "cannot open ledger \(folder): \(error.message)")
        }
    }
}
