import Dispatch
import GRDB
import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import Transparency

/// Runs writes one after the other and commits those that wait together.
///
/// While one transaction is on its way to the disk, further writes gather; the next transaction takes them all,
/// each in a savepoint of its own, so one that fails does not undo its neighbours. Their changes get the next
/// numbers of the feed in the same transaction. After the commit the changes go to the consumer, and only then
/// do the callers continue. The leaves of the changes are in the same transaction and go to their consumer likewise.
final class WriteQueue: Sendable {
    /// What a write does to the store: rows, and the changes that describe them.
    typealias Body<Result> = @Sendable (Database, inout ChangeList) throws -> Result

    private struct Pending: Sendable {
        /// Runs inside the transaction; the result is what to call after the commit.
        let run: @Sendable (Database, inout ChangeList) throws -> @Sendable () -> Void
        /// Empty, for the one who writes.
        let changes: ChangeList
        let fail: @Sendable (any Error) -> Void
    }

    private let database: DatabaseQueue
    private let consumer: NIOLockedValueBox<(any ChangeFeedConsumer)?>
    private let leafConsumer: NIOLockedValueBox<LeafConsumer>
    private let waiting = NIOLockedValueBox<[Pending]>([])
    private let queue = DispatchQueue(label: "cygnet.store.write")

    init(
        database: DatabaseQueue, consumer: NIOLockedValueBox<(any ChangeFeedConsumer)?>,
        leafConsumer: NIOLockedValueBox<LeafConsumer>
    ) {
        self.database = database
        self.consumer = consumer
        self.leafConsumer = leafConsumer
    }

    /// Runs `body` in a transaction that is durable when this returns.
    ///
    /// - Throws: what `body` throws, or ``ServerError`` when the transaction cannot be committed; nothing of
    ///   `body` is stored then.
    func write<Result: Sendable>(_ body: @escaping Body<Result>) async throws -> Result {
        // Who writes is known here and not on the queue.
        let list = ChangeList()
        return try await withCheckedThrowingContinuation { continuation in
            let pending = Pending(
                run: { db, changes in
                    let result = try body(db, &changes)
                    return { continuation.resume(returning: result) }
                },
                changes: list,
                fail: { error in continuation.resume(throwing: StoreFailure.serverError(error)) })
            let isFirst = self.waiting.withLockedValue { waiting in
                waiting.append(pending)
                return waiting.count == 1
            }
            if isFirst { self.queue.async { self.drain() } }
        }
    }

    private func drain() {
        let batch = self.waiting.withLockedValue { waiting in
            defer { waiting = [] }
            return waiting
        }
        guard !batch.isEmpty else { return }
        var done: [@Sendable () -> Void] = []
        var failed: [(Pending, any Error)] = []
        var committed: [Pending] = []
        var changes = ChangeList()
        var events: [LeafEvent] = []
        var seq: UInt64 = 0
        do {
            try self.database.writeWithoutTransaction { db in
                try db.inTransaction(.immediate) {
                    for pending in batch {
                        var own = pending.changes
                        var finish: (@Sendable () -> Void)?
                        do {
                            try db.inSavepoint {
                                finish = try pending.run(db, &own)
                                return .commit
                            }
                            if let finish { done.append(finish) }
                            committed.append(pending)
                            changes.append(contentsOf: own)
                        } catch {
                            failed.append((pending, error))
                        }
                    }
                    (seq, events) = try ChangeRows.append(changes, db)
                    return .commit
                }
            }
        } catch {
            // The whole transaction is gone: nobody's write is stored.
            for pending in committed { pending.fail(error) }
            for (pending, cause) in failed { pending.fail(cause) }
            return
        }
        if !changes.isEmpty {
            self.leafConsumer.withLockedValue { $0.value }?.committed(events, seq: seq)
            self.consumer.withLockedValue { $0 }?.apply(changes.changes, seq: seq)
        }
        for finish in done { finish() }
        for (pending, error) in failed { pending.fail(error) }
    }
}

/// Errors of the database as the control plane names them.
enum StoreFailure {
    static func serverError(_ error: any Error) -> any Error {
        guard let database = error as? DatabaseError else { return error }
        switch database.resultCode {
        case .SQLITE_FULL:
            return ServerError(
                .unavailable,
                "cannot write to the store: the disk is full; free space, nothing was changed")
        case .SQLITE_IOERR, .SQLITE_READONLY, .SQLITE_CANTOPEN:
            return ServerError(
                .unavailable,
                "cannot write to the store: \(database.message ?? "input/output error"); nothing was changed"
            )
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return ServerError(
                .unavailable,
                "cannot write to the store: another process holds it; stop that process")
        default:
            return ServerError(
                .internal,
                "store error \(database.extendedResultCode.rawValue): \(database.message ?? "unknown")"
            )
        }
    }
}
