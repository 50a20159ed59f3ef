package import Logging
import NIOConcurrencyHelpers
import Transparency

/// Asks witnesses to cosign each checkpoint that is published, behind everybody's back: no issuance waits for it.
///
/// Each witness is asked on its own, one request at a time and always for the newest checkpoint. One that fails is
/// asked again after a while that grows; one that contradicts is reported as loudly as the log can.
package final class CheckpointWitnessing: Sendable {
    private struct State {
        /// By the witness's place: the size that it cosigned last.
        var sizes: [Int: UInt64] = [:]
        var failing: Set<Int> = []
        var hadQuorum: Bool?
    }

    /// How much of a refusal is shown.
    private static let shownBytes = 200
    private static let longestPause = Duration.seconds(60)

    private let log: any WitnessedLog
    private let witnesses: [LedgerWitness]
    private let quorum: Int
    private let logger: Logger
    private let sleep: @Sendable (Duration) async throws -> Void
    private let state = NIOLockedValueBox(State())

    /// - Parameters:
    ///   - quorum: With fewer witnesses that cosign, the operator is warned.
    ///   - sleep: Waits; tests have their own.
    package init(
        log: any WitnessedLog, witnesses: [LedgerWitness], quorum: Int, logger: Logger,
        sleep: @escaping @Sendable (Duration) async throws -> Void = {
            try await Task.sleep(for: $0)
        }
    ) {
        self.log = log
        self.witnesses = witnesses
        self.quorum = quorum
        self.logger = logger
        self.sleep = sleep
    }

    /// The size of the largest checkpoint that a quorum has cosigned since the start; nil before the first.
    package var cosignedSize: UInt64? {
        let sizes = self.state.withLockedValue { $0.sizes.values.sorted(by: >) }
        return self.quorum > 0 && sizes.count >= self.quorum ? sizes[self.quorum - 1] : nil
    }

    /// Asks until the task is cancelled.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            for index in self.witnesses.indices {
                group.addTask { await self.follow(index) }
            }
        }
    }

    private func follow(_ index: Int) async {
        for await _ in self.log.publications() {
            var failures = 0
            while !Task.isCancelled {
                do {
                    try await self.ask(index)
                    break
                } catch {
                    if Task.isCancelled { return }
                    failures += 1
                    self.report(index, error)
                    let pause = Self.pause(after: failures, error)
                    do { try await self.sleep(pause) } catch { return }
                }
            }
        }
    }

    /// 1, 2, 4 … seconds, and a minute where a second makes no difference.
    static func pause(after failures: Int, _ error: any Error) -> Duration {
        if let error = error as? WitnessingError, error.code != .failed { return self.longestPause }
        return min(.seconds(1 << min(max(failures, 1) - 1, 6)), self.longestPause)
    }

    /// Gets a witness's cosignature for the checkpoint that is published now, unless it has it.
    ///
    /// - Throws: ``WitnessingError``, or what reading and asking throw.
    func ask(_ index: Int) async throws {
        let witness = self.witnesses[index]
        guard let bytes = try await self.log.read("checkpoint", limit: SignedNote.maximumBytes)
        else { return }
        let signed = try SignedCheckpoint(parsing: bytes, signedBy: self.log.key)
        let size = signed.checkpoint.size
        if (try? signed.note.verified(by: [witness.key])) != nil {
            return self.report(index, cosigned: size)
        }
        let own = try signed.note.verified(by: [self.log.key]).map(\.signature)
        let note = try SignedNote(text: signed.note.text, signatures: own)
        let proofs = ProofBuilder(self.log, checkpoint: signed)
        var old = self.state.withLockedValue { $0.sizes[index] ?? 0 }
        // The first answer may say where the witness stands; a second such answer is a quarrel.
        for isLast in [false, true] {
            let path = try await proofs.consistency(fromSize: min(old, size)).path
            let request = AddCheckpointRequest(oldSize: min(old, size), path: path, note: note)
            let response = try await witness.client.addCheckpoint(request.bytes)
            switch response.status {
            case 200:
                let found: [NoteSignature]
                do throws(TransparencyError) {
                    found = try WitnessAnswer.signatures(
                        response.body, over: note, by: [witness.key])
                } catch {
                    throw WitnessingError(
                        .failed, "its answer has no cosignature by its key: \(error.message)")
                }
                _ = try await self.log.add(found, to: note)
                return self.report(index, cosigned: size)
            case 409 where response.contentType == "text/x.tlog.size" && !isLast:
                guard let known = WitnessAnswer.size(response.body) else {
                    throw WitnessingError(.failed, "it answers with a conflict and no size")
                }
                guard known <= size else {
                    throw WitnessingError(
                        .contradicted,
                        "it has cosigned \(known) leaves of this ledger, which has \(size): an older copy was "
                            + "restored, or somebody else signs with the ledger's key")
                }
                old = known
            default: throw Self.refusal(response)
            }
        }
    }

    private static func refusal(_ response: WitnessResponse) -> WitnessingError {
        let said = TransparencyError.quoted(response.body.prefix(self.shownBytes))
        switch response.status {
        case 422:
            return WitnessingError(
                .contradicted,
                "it has cosigned another history of this ledger: somebody else signs with the ledger's key, or it was "
                    + "made anew (\(said))")
        case 403, 404:
            return WitnessingError(
                .refused,
                "it does not know this ledger or its key; give it the output of \"cygnet-server ledger key\" "
                    + "(status \(response.status), \(said))")
        default:
            return WitnessingError(.failed, "it answers with status \(response.status), \(said)")
        }
    }

    // MARK: Status

    private func report(_ index: Int, cosigned size: UInt64) {
        let (recovered, hasQuorum) = self.state.withLockedValue { state in
            state.sizes[index] = size
            let recovered = state.failing.remove(index) != nil
            return (recovered, self.changedQuorum(&state))
        }
        let witness = self.witnesses[index]
        self.logger.log(
            level: recovered ? .info : .debug, "the ledger's checkpoint is cosigned",
            metadata: ["witness": "\(witness.name)", "size": "\(size)"])
        self.reportQuorum(hasQuorum)
    }

    private func report(_ index: Int, _ error: any Error) {
        let (isFirst, hasQuorum) = self.state.withLockedValue { state in
            let isFirst = state.failing.insert(index).inserted
            return (isFirst, self.changedQuorum(&state))
        }
        var level: Logger.Level = isFirst ? .warning : .debug
        if let error = error as? WitnessingError, error.code == .contradicted { level = .critical }
        self.logger.log(
            level: level, "a witness does not cosign the ledger's checkpoint",
            metadata: [
                "witness": "\(self.witnesses[index].name)", LogKeys.error: "\(error)",
            ])
        self.reportQuorum(hasQuorum)
    }

    /// Whether a quorum cosigns; nil when that is as before.
    private func changedQuorum(_ state: inout State) -> Bool? {
        let cosigning = state.sizes.keys.filter { !state.failing.contains($0) }.count
        let isPending = state.sizes.count + state.failing.count < self.witnesses.count
        let hasQuorum = cosigning >= self.quorum
        // At the start the slower ones are waited for.
        guard hasQuorum || !isPending || state.hadQuorum != nil, state.hadQuorum != hasQuorum else {
            return nil
        }
        state.hadQuorum = hasQuorum
        return hasQuorum
    }

    private func reportQuorum(_ hasQuorum: Bool?) {
        guard let hasQuorum else { return }
        self.logger.log(
            level: hasQuorum ? .info : .error,
            hasQuorum
                ? "the ledger has a quorum of witnesses" : "the ledger has no quorum of witnesses",
            metadata: ["quorum": "\(self.quorum)", LogKeys.count: "\(self.witnesses.count)"])
    }
}
