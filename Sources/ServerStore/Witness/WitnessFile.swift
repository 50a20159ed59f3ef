import Crypto
package import Foundation
package import Logging
import NIOConcurrencyHelpers
import ServerCore
package import Transparency

/// A witness in a folder: cosigns checkpoints of the logs that it knows, and remembers the last one of each.
///
/// What it remembers is durable before a cosignature leaves. A crash between the two loses nothing: the log asks again
/// and gets its cosignature. After a write that failed either the old or the new checkpoint is on disk; the new one's
/// cosignature was not given to anybody, so both are true. Requests are taken one after the other.
package final class WitnessFile: Sendable {
    static let states = "logs"
    private static let evidence = "evidence"
    private static let lock = "lock"
    /// How many contradictions are kept; one is enough to convict a log.
    private static let maximumEvidence = 64

    private struct Core {
        var state: WitnessState
        var evidence = 0
    }

    private let storage: any LedgerStorage
    private let fileLock: FileLock?
    private let signer: NoteSigner
    private let core: NIOLockedValueBox<Core>
    private let origins: [String: ExactText]
    private let logger: Logger
    private let now: @Sendable () -> Date

    /// Opens a witness's folder, and makes it with a key where there is none; the folder above must exist.
    ///
    /// - Parameters:
    ///   - name: The witness's name, the name of its key.
    ///   - logs: The keys of the logs to witness; a key's name is its log's origin.
    ///   - now: The clock for cosignatures.
    /// - Throws: ``ServerError``: `failedPrecondition` when another process has the folder, the key has another name,
    ///   or what is remembered is damaged; `unavailable` when it cannot be read or written.
    package convenience init(
        folder: String, name: NoteKeyName, logs: [VerifierKey], logger: Logger,
        now: @escaping @Sendable () -> Date = { Date() }
    ) throws {
        let storage: DiskStorage
        do throws(LedgerStorageError) {
            storage = try DiskStorage(folder: folder)
        } catch {
            throw ServerError(.unavailable, "cannot open witness: \(error.message)")
        }
        let lock = try FileLock(path: folder + "/" + Self.lock, what: "witness \(folder)")
        try self.init(
            folder: folder, storage: storage, lock: lock, name: name, logs: logs, logger: logger,
            now: now)
    }

    /// The same on any storage; `lock` keeps others away for as long as this lives.
    init(
        folder: String, storage: any LedgerStorage, lock: FileLock?, name: NoteKeyName,
        logs: [VerifierKey], logger: Logger, now: @escaping @Sendable () -> Date
    ) throws {
        self.storage = storage
        self.fileLock = lock
        self.logger = logger
        self.now = now
        do {
            let signer = try WitnessKey.signer(storage, name: name, folder: folder)
            var state = WitnessState(keys: logs)
            var origins: [String: ExactText] = [:]
            for origin in state.origins {
                origins[Self.digest(origin)] = origin
                try Self.restore(origin, in: &state, storage, signer.key, folder)
            }
            self.signer = signer
            self.origins = origins
            self.core = NIOLockedValueBox(Core(state: state))
        } catch let error as LedgerStorageError {
            throw ServerError(
                .unavailable,
                "cannot open witness \(folder): \(error.message); repair the disk or free space")
        }
    }

    private static func restore(
        _ origin: ExactText, in state: inout WitnessState, _ storage: any LedgerStorage,
        _ key: VerifierKey, _ folder: String
    ) throws {
        let path = self.path(origin)
        guard let bytes = try storage.read(path, limit: SignedNote.maximumBytes) else { return }
        do throws(TransparencyError) {
            let note = try SignedNote(parsing: bytes)
            _ = try note.verified(by: [key])
            guard try Checkpoint(parsing: note.text).origin == origin else {
                throw TransparencyError(.wrongOrigin, "it is a checkpoint of another log")
            }
            try state.restore(note)
        } catch {
            throw ServerError(
                .failedPrecondition,
                "\(folder)/\(path), the last checkpoint of the log \(origin) that was cosigned, cannot be used: "
                    + "\(error.message); restore it, a witness that forgets could cosign two histories"
            )
        }
    }

    /// The witness's verifier key.
    package var key: VerifierKey { self.signer.key }

    /// Answers a request `add-checkpoint`. Waits for the disk.
    package func answer(_ body: [UInt8]) -> WitnessAnswer {
        self.core.withLockedValue { core in
            switch core.state.judge(body) {
            case .refused(let answer, let evidence):
                if let evidence { self.keep(evidence, &core) }
                return answer
            case .accepted(let acceptance):
                do {
                    return try self.cosign(acceptance, &core)
                } catch {
                    self.logger.error(
                        "cannot cosign a checkpoint",
                        metadata: [
                            "origin": "\(acceptance.signed.checkpoint.origin)",
                            LogKeys.error: "\(error)",
                        ])
                    return .unavailable("the witness cannot store its state now")
                }
            }
        }
    }

    private func cosign(
        _ acceptance: WitnessState.Acceptance, _ core: inout Core
    ) throws -> WitnessAnswer {
        let time = self.now().timeIntervalSince1970.rounded(.down)
        guard let seconds = UInt64(exactly: time), seconds > 0 else {
            throw ServerError(.unavailable, "the clock is not set")
        }
        let checkpoint = acceptance.signed.checkpoint
        let signature = try self.signer.sign(acceptance.signed.note.text, at: seconds)
        let note = try core.state.note(for: acceptance, signature: signature)
        try self.storage.replace(Self.path(checkpoint.origin), with: note.bytes, isDurable: true)
        let answer = try core.state.record(acceptance, signature: signature)
        self.logger.debug(
            "cosigned a checkpoint",
            metadata: ["origin": "\(checkpoint.origin)", "size": "\(checkpoint.size)"])
        return answer
    }

    /// Keeps both checkpoints of a log that signed two of one size.
    private func keep(_ shown: SignedNote, _ core: inout Core) {
        guard let origin = try? Checkpoint(parsing: shown.text).origin,
            let kept = core.state.latest(of: origin)
        else { return }
        self.logger.critical(
            "a log has signed two checkpoints of one size", metadata: ["origin": "\(origin)"])
        let name = "\(Self.evidence)/\(Hex.encode(SHA256.hash(data: shown.text)))"
        do {
            guard core.evidence < Self.maximumEvidence,
                try !self.storage.contains(name + ".shown")
            else { return }
            core.evidence += 1
            try self.storage.replace(name + ".cosigned", with: kept.bytes, isDurable: true)
            try self.storage.replace(name + ".shown", with: shown.bytes, isDurable: true)
        } catch {
            self.logger.error("cannot keep evidence", metadata: [LogKeys.error: "\(error)"])
        }
    }

    /// The note that was cosigned last for a log, for monitors.
    ///
    /// - Parameter digest: SHA-256 of the log's origin, in lower-case hex.
    package func latest(originDigest digest: String) -> SignedNote? {
        guard let origin = self.origins[digest] else { return nil }
        return self.core.withLockedValue { $0.state.latest(of: origin) }
    }

    private static func path(_ origin: ExactText) -> String {
        "\(self.states)/\(self.digest(origin))"
    }

    static func digest(_ origin: ExactText) -> String {
        Hex.encode(SHA256.hash(data: Array(origin.string.utf8)))
    }
}
