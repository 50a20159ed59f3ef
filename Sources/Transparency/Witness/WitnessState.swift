/// The rules of a witness: which checkpoint of each log it cosigned last, and what it may cosign next (C2SP
/// tlog-witness).
///
/// A request goes through three steps. ``judge(_:)`` decides and changes nothing. The caller cosigns what was
/// accepted and makes the cosigned note durable. ``record(_:signature:)`` then moves the state on, and its answer may
/// go out. Steps of two requests for one log must not interleave; should they, `record` refuses the second, and
/// nothing of it may be released.
package struct WitnessState: Sendable {
    /// A checkpoint that may be cosigned.
    package struct Acceptance: Sendable {
        /// What is to be cosigned.
        package let signed: SignedCheckpoint
        /// The checkpoint that it continues; nil when it is the log's first.
        package let previous: Checkpoint?
    }

    /// The outcome of a request.
    package enum Verdict: Sendable {
        /// Cosign, store, then ``WitnessState/record(_:signature:)``.
        case accepted(Acceptance)
        /// Send this. `evidence` is set when the log signed two checkpoints of one size: worth keeping.
        case refused(WitnessAnswer, evidence: SignedNote?)
    }

    private struct Log: Sendable {
        let keys: [VerifierKey]
        var latest: SignedCheckpoint?
    }
    private var logs: [ExactText: Log]

    /// - Parameter keys: The keys of the logs to witness. A key's name is its log's origin; a log may have several.
    package init(keys: [VerifierKey]) {
        self.logs = [:]
        for (origin, keys) in Dictionary(grouping: keys, by: \.name.text) {
            self.logs[origin] = Log(keys: keys.filter { $0.algorithm == .ed25519 }, latest: nil)
        }
    }

    /// Takes a stored note back in, at the start.
    ///
    /// - Throws: ``TransparencyError`` when it is no checkpoint signed by a log that is witnessed here.
    package mutating func restore(_ note: SignedNote) throws(TransparencyError) {
        let signed = try self.signed(note).get()
        self.logs[signed.checkpoint.origin]?.latest = signed
    }

    /// The note that was cosigned last for a log, to be served to monitors; nil when there is none.
    package func latest(of origin: ExactText) -> SignedNote? { self.logs[origin]?.latest?.note }

    /// The origins of the logs that are witnessed, in no order.
    package var origins: [ExactText] { Array(self.logs.keys) }

    /// Decides on the body of a request.
    package func judge(_ body: [UInt8]) -> Verdict {
        let request: AddCheckpointRequest
        let signed: SignedCheckpoint
        do throws(TransparencyError) {
            request = try AddCheckpointRequest(parsing: body)
            _ = try Checkpoint(parsing: request.note.text)
        } catch {
            return .refused(.malformed(error.message), evidence: nil)
        }
        switch self.signed(request.note) {
        case .success(let value): signed = value
        case .failure(let error):
            let answer: WitnessAnswer =
                error.code == .wrongOrigin ? .unknown(error.message) : .unsigned(error.message)
            return .refused(answer, evidence: nil)
        }
        let new = signed.checkpoint
        let latest = self.logs[new.origin]?.latest
        guard request.oldSize <= new.size else {
            return .refused(
                .malformed("old size \(request.oldSize) is above the checkpoint's \(new.size)"),
                evidence: nil)
        }
        // What a log signed twice is known before the sizes are compared: it must not be missed because the log
        // asks with a wrong old size.
        let isSplit = latest.map {
            $0.checkpoint.size == new.size && $0.checkpoint.root != new.root
        }
        let evidence = isSplit == true ? request.note : nil
        guard request.oldSize == latest?.checkpoint.size ?? 0 else {
            return .refused(.conflict(latest?.checkpoint.size ?? 0), evidence: evidence)
        }
        guard new.size > 0 || new.root == .emptyTree else {
            return .refused(.inconsistent("a checkpoint of size 0 has another root"), evidence: nil)
        }
        let oldRoot = latest?.checkpoint.root ?? .emptyTree
        let proof = ConsistencyProof(
            oldSize: request.oldSize, newSize: new.size, path: request.path)
        do throws(TransparencyError) {
            try proof.verify(oldRoot: oldRoot, newRoot: new.root)
        } catch {
            return .refused(.inconsistent(error.message), evidence: evidence)
        }
        return .accepted(Acceptance(signed: signed, previous: latest?.checkpoint))
    }

    /// What is to be stored for an accepted checkpoint and served to monitors: its text, the log's signatures that were
    /// verified, and the witness's.
    ///
    /// - Throws: ``TransparencyError`` when it is too large.
    package func note(
        for acceptance: Acceptance, signature: NoteSignature
    ) throws(TransparencyError) -> SignedNote {
        let keys = self.logs[acceptance.signed.checkpoint.origin]?.keys ?? []
        let signatures = try acceptance.signed.note.verified(by: keys).map(\.signature)
        return try SignedNote(
            text: acceptance.signed.note.text, signatures: signatures + [signature])
    }

    /// Moves on to an accepted checkpoint, when its note is durable.
    ///
    /// - Returns: 200 with the cosignature, or 409 when another request was faster; then the cosignature must not
    ///   leave the witness, and what was stored must be replaced by ``latest(of:)``.
    /// - Throws: ``TransparencyError`` when the note is too large.
    package mutating func record(
        _ acceptance: Acceptance, signature: NoteSignature
    ) throws(TransparencyError) -> WitnessAnswer {
        let new = acceptance.signed.checkpoint
        let latest = self.logs[new.origin]?.latest?.checkpoint
        guard latest == acceptance.previous else { return .conflict(latest?.size ?? 0) }
        let note = try self.note(for: acceptance, signature: signature)
        let keys = self.logs[new.origin]?.keys ?? []
        let identifiers = note.signatures.map(\.keyID)
        guard let key = keys.first(where: { identifiers.contains($0.keyID) })
        else { throw TransparencyError(.notSigned, "the log's signature was lost") }
        self.logs[new.origin]?.latest = try SignedCheckpoint(note, signedBy: key)
        return .cosigned(signature)
    }

    /// A note as a checkpoint that a key of its log signed.
    private func signed(_ note: SignedNote) -> Result<SignedCheckpoint, TransparencyError> {
        do throws(TransparencyError) {
            let checkpoint = try Checkpoint(parsing: note.text)
            guard let log = self.logs[checkpoint.origin] else {
                throw TransparencyError(
                    .wrongOrigin,
                    "the log \(TransparencyError.quoted(checkpoint.origin.string.utf8)) is not witnessed here"
                )
            }
            guard let key = try note.verified(by: log.keys).first?.key else {
                throw TransparencyError(.notSigned, "the note has no signature by the log")
            }
            return .success(try SignedCheckpoint(note, signedBy: key))
        } catch {
            return .failure(error)
        }
    }
}
