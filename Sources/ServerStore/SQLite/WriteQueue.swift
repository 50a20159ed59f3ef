import Dispatch
import GRDB
import NIOConcurrencyHelpers
import SPIFFE
import ServerCore

/// Runs writes one after the other and commits those that wait together.
///
/// While one transaction is on its way to the disk, further writes gather; the next transaction takes them all,
/// each in a savepoint of its own, so one that fails does not undo its neighbours. Their changes get the next
/// numbers of the feed in the same transaction. After the commit the changes go to the consumer, and only then
/// do the callers continue.
final class WriteQueue: Sendable {
    /// What a write does to the store: rows, and the changes that describe them.
    typealias Body<Result> = @Sendable (Database, inout [Change]) throws -> Result

    private struct Pending: Sendable {
        /// Runs inside the transaction; the result is what to call after the commit.
        let run: @Sendable (Database, inout [Change]) throws -> @Sendable () -> Void
        let fail: @Sendable (any Error) -> Void
    }

    private let database: DatabaseQueue
    private let consumer: NIOLockedValueBox<(any ChangeFeedConsumer)?>
    private let waiting = NIOLockedValueBox<[Pending]>([])
    private let queue = DispatchQueue(label: "cygnet.store.write")

    init(database: DatabaseQueue, consumer: NIOLockedValueBox<(any ChangeFeedConsumer)?>) {
        self.database = database
        self.consumer = consumer
    }

    /// Runs `body` in a transaction that is durable when this returns.
    ///
    /// - Throws: what `body` throws, or ``ServerError`` when the transaction cannot be committed; nothing of
    ///   `body` is stored then.
    func write<Result: Sendable>(_ body: @escaping Body<Result>) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let pending = Pending(
                run: { db, changes in
                    let result = try body(db, &changes)
                    return { continuation.resume(returning: result) }
                },
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
        var changes: [Change] = []
        var seq: UInt64 = 0
        do {
            try self.database.writeWithoutTransaction { db in
                try db.inTransaction(.immediate) {
                    for pending in batch {
                        var own: [Change] = []
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
                    seq = try ChangeRows.append(changes, db)
                    return .commit
                }
            }
        } catch {
            // The whole transaction is gone: nobody's write is stored.
            for pending in committed { pending.fail(error) }
            for (pending, cause) in failed { pending.fail(cause) }
            return
        }
        if !changes.isEmpty, let consumer = self.consumer.withLockedValue({ $0 }) {
            consumer.apply(changes, seq: seq)
        }
        for finish in done { finish() }
        for (pending, error) in failed { pending.fail(error) }
    }
}

/// The rows of the change feed.
enum ChangeRows {
    /// Appends the changes and moves the head.
    ///
    /// - Returns: the head afterwards.
    static func append(_ changes: [Change], _ db: Database) throws -> UInt64 {
        let head =
            try Int64.fetchOne(
                db.cachedStatement(sql: "SELECT seq FROM feed_head WHERE id = 1")) ?? 0
        guard !changes.isEmpty else { return UInt64(head) }
        let insert = try db.cachedStatement(
            sql: "INSERT INTO changes (seq, kind, key) VALUES (?, ?, ?)")
        var seq = head
        for change in changes {
            seq += 1
            let (kind, key) = self.row(change)
            try insert.execute(arguments: [seq, kind, key])
        }
        try db.cachedStatement(sql: "UPDATE feed_head SET seq = ? WHERE id = 1")
            .execute(arguments: [seq])
        return UInt64(seq)
    }

    private static func row(_ change: Change) -> (kind: String, key: String) {
        switch change {
        case .entryUpserted(let entry): ("entry", entry.id)
        case .entryRemoved(let id): ("entry_removed", id)
        case .nodeUpserted(let node): ("node", node.id.string)
        case .nodeRemoved(let id): ("node_removed", id.string)
        case .bundleUpserted(let bundle): ("bundle", bundle.trustDomain.name)
        case .bundleRemoved(let trustDomain): ("bundle_removed", trustDomain.name)
        case .relationshipUpserted(let relationship):
            ("relationship", relationship.trustDomain.name)
        case .relationshipRemoved(let trustDomain):
            ("relationship_removed", trustDomain.name)
        case .limitsUpserted(let limits): ("limits", limits.trustDomain.name)
        case .limitsRemoved(let trustDomain): ("limits_removed", trustDomain.name)
        }
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
