/// Checks proofs offline: knows a log's key and perhaps witnesses, and needs nothing else.
package struct ProofVerifier: Sendable {
    /// A proof that was checked.
    package struct Verdict: Sendable {
        /// The checkpoint that the proof leads to.
        package let checkpoint: Checkpoint
        /// The leaf's index.
        package let index: UInt64
        /// The witnesses that cosigned, and when in POSIX seconds.
        package let cosignatures: [(key: VerifierKey, time: UInt64)]
    }

    private let key: VerifierKey
    private let origin: ExactText?
    private let witnesses: [VerifierKey]
    private let quorum: Int

    /// - Parameters:
    ///   - key: The log's key.
    ///   - origin: The log's origin where it is not the key's name.
    ///   - witnesses: Keys with the algorithm ``VerifierKey/Algorithm/cosignature``.
    ///   - quorum: How many of the witnesses must have cosigned.
    /// - Throws: ``TransparencyError`` `malformedKey` for a log's key that is a witness's or the other way round, for
    ///   two witnesses with one public key, and for a quorum that cannot be met.
    package init(
        key: VerifierKey, origin: ExactText? = nil, witnesses: [VerifierKey] = [], quorum: Int = 0
    ) throws(TransparencyError) {
        guard key.algorithm == .ed25519 else {
            throw TransparencyError(.malformedKey, "\(key.name) has a witness's key, not a log's")
        }
        guard witnesses.allSatisfy({ $0.algorithm == .cosignature }) else {
            throw TransparencyError(.malformedKey, "a witness's key must have algorithm 4")
        }
        guard Set(witnesses.map(\.publicKey)).count == witnesses.count else {
            throw TransparencyError(.malformedKey, "two witnesses with the same public key are one")
        }
        guard quorum >= 0, quorum <= witnesses.count else {
            throw TransparencyError(
                .malformedKey, "a quorum of \(quorum) among \(witnesses.count) witnesses")
        }
        self.key = key
        self.origin = origin
        self.witnesses = witnesses
        self.quorum = quorum
    }

    /// Checks a checkpoint: the log's signature and the quorum of witnesses.
    ///
    /// - Throws: ``TransparencyError`` with the code of the first rule broken.
    package func signed(
        _ note: SignedNote
    ) throws(TransparencyError) -> (SignedCheckpoint, [(key: VerifierKey, time: UInt64)]) {
        let signed = try SignedCheckpoint(note, signedBy: self.key, origin: self.origin)
        var cosignatures: [(key: VerifierKey, time: UInt64)] = []
        let known = note.signatures.contains { signature in
            self.witnesses.contains { $0.name == signature.name && $0.keyID == signature.keyID }
        }
        if known {
            for (key, signature) in try note.verified(by: self.witnesses) {
                guard let cosignature = Cosignature(parsing: signature.signature) else { continue }
                cosignatures.append((key, cosignature.time))
            }
        }
        guard cosignatures.count >= self.quorum else {
            throw TransparencyError(
                .noQuorum,
                "\(cosignatures.count) of \(self.witnesses.count) witnesses cosigned; asked for \(self.quorum)"
            )
        }
        return (signed, cosignatures)
    }

    /// Checks a proof for the leaf with this hash.
    ///
    /// - Throws: ``TransparencyError`` with the code of the first rule broken.
    package func verify(
        _ proof: LogProof, leafHash: MerkleHash
    ) throws(TransparencyError) -> Verdict {
        let (signed, cosignatures) = try self.signed(proof.note)
        let checkpoint = signed.checkpoint
        try InclusionProof(index: proof.index, size: checkpoint.size, path: proof.path)
            .verify(leafHash: leafHash, root: checkpoint.root)
        return Verdict(checkpoint: checkpoint, index: proof.index, cosignatures: cosignatures)
    }
}
