import ArgumentParser
import Foundation
import Transparency

/// `cygnet ledger prove`: a proof of one leaf, as a file.
struct LedgerProveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prove",
        abstract: "Write a proof that one leaf is in the ledger (C2SP tlog-proof).",
        discussion:
            "Example: cygnet ledger prove --dir DIR --key VKEY --serial 4f3a --out svid.tlog-proof. "
            + "With --txn there is a proof of each statement, and --out is a folder.")

    /// Proofs that one call writes.
    private static let maximumProofs = 10_000

    @OptionGroup var place: LedgerPlace
    @OptionGroup var trust: LedgerTrust
    @OptionGroup var selection: LedgerSelection

    @Option(help: "The leaf's index.")
    var index: UInt64?

    @Option(help: "Where to write the proof, or with --txn the proofs; default: standard output.")
    var out: String?

    func run() async throws {
        try await LedgerOutput.reporting {
            let reader = try self.place.reader()
            let report = try await LogVerifier(reader, verifier: self.trust.verifier()).checkpoint()
            if self.selection.txn != nil, self.index == nil {
                return try await self.proveTransaction(reader, report.signed)
            }
            let index: UInt64
            if let given = self.index {
                index = given
            } else {
                index = try await self.search(reader, size: report.signed.checkpoint.size)
            }
            let proof = try await ProofBuilder(reader, checkpoint: report.signed)
                .proof(ofLeaf: index)
            guard let out else {
                FileHandle.standardOutput.write(Data(proof.bytes))
                return
            }
            do {
                try Data(proof.bytes).write(to: URL(fileURLWithPath: out), options: .atomic)
            } catch {
                throw LaptopError(message: "cannot write \(out): \(error.localizedDescription)")
            }
            LedgerOutput.note("proof of leaf \(index) written to \(out)")
        }
    }

    /// Writes a proof of each leaf about a transaction.
    private func proveTransaction(
        _ reader: any TileReader, _ signed: SignedCheckpoint
    ) async throws {
        guard let folder = self.out else {
            throw LaptopError(
                message: "there may be several proofs", hints: ["name a folder with --out"])
        }
        let found = try await self.matches(
            reader, size: signed.checkpoint.size, limit: Self.maximumProofs)
        guard found.count <= Self.maximumProofs else {
            throw LaptopError(
                message: "more than \(Self.maximumProofs) leaves are about that transaction",
                hints: ["give --index, or select more narrowly"])
        }
        if found.isEmpty {
            throw LaptopError(message: "no leaf of \(signed.checkpoint.size) is like that")
        }
        try await LeafProofs.write(found, of: reader, signed, into: folder)
    }

    /// The indexes of the leaves that are asked for, at most one more than the limit.
    private func matches(
        _ reader: any TileReader, size: UInt64, limit: Int
    ) async throws -> [UInt64] {
        let filter = try self.selection.filter()
        guard !filter.isEmpty else {
            throw LaptopError(
                message: "no leaf is named",
                hints: ["give --index, --serial, --jti or another selection"])
        }
        var found: [UInt64] = []
        try await reader.unverifiedLeaves(size: size) { index, bytes in
            if let leaf = try? Leaf(parsing: Array(bytes)), filter.matches(leaf) {
                found.append(index)
            }
            return found.count <= limit
        }
        return found
    }

    /// The index of the one leaf that is asked for.
    private func search(_ reader: any TileReader, size: UInt64) async throws -> UInt64 {
        let found = try await self.matches(reader, size: size, limit: 10)
        guard let index = found.first else {
            throw LaptopError(message: "no leaf of \(size) is like that")
        }
        guard found.count == 1 else {
            let shown = found.prefix(10).map(String.init).joined(separator: ", ")
            throw LaptopError(
                message: "several leaves are like that: \(shown)\(found.count > 10 ? ", …" : "")",
                hints: ["give --index, or select more narrowly"])
        }
        return index
    }
}
