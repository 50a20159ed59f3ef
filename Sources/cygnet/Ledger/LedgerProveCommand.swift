import ArgumentParser
import Foundation
import Transparency

/// `cygnet ledger prove`: a proof of one leaf, as a file.
struct LedgerProveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prove",
        abstract: "Write a proof that one leaf is in the ledger (C2SP tlog-proof).",
        discussion:
            "Example: cygnet ledger prove --dir DIR --key VKEY --serial 4f3a --out svid.tlog-proof")

    @OptionGroup var place: LedgerPlace
    @OptionGroup var trust: LedgerTrust
    @OptionGroup var selection: LedgerSelection

    @Option(help: "The leaf's index.")
    var index: UInt64?

    @Option(help: "Where to write the proof; default: standard output.")
    var out: String?

    func run() async throws {
        try await LedgerOutput.reporting {
            let reader = try self.place.reader()
            let report = try await LogVerifier(reader, verifier: self.trust.verifier()).checkpoint()
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

    /// The index of the one leaf that is asked for.
    private func search(_ reader: any TileReader, size: UInt64) async throws -> UInt64 {
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
            return found.count <= 10
        }
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
