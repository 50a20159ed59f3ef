import ArgumentParser
import Transparency

/// `cygnet ledger check`: a proof file, with nothing but a verifier key.
struct LedgerCheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check a proof offline and print the leaf that it proves.")

    @Argument(help: "A file that \"cygnet ledger prove\" wrote.")
    var file: String

    @OptionGroup var trust: LedgerTrust

    @Option(help: "File with the leaf's bytes, when they are not in the proof.")
    var leaf: String?

    func run() async throws {
        try await LedgerOutput.reporting {
            guard
                let bytes = try DirectoryTileReader.read(
                    file: self.file, limit: LogProof.maximumBytes)
            else { throw LaptopError(message: "there is no file \(self.file)") }
            let proof = try LogProof(parsing: bytes)
            guard let leaf = try self.leafBytes() ?? proof.extra else {
                throw LaptopError(
                    message: "the proof does not have its leaf",
                    hints: ["give the leaf with --leaf FILE"])
            }
            let verdict = try self.trust.verifier().verify(proof, leafHash: .leaf(leaf))
            LedgerOutput.line(
                "leaf \(verdict.index) of \(verdict.checkpoint.origin), which has "
                    + "\(verdict.checkpoint.size) leaves, holds")
            LedgerOutput.cosignatures(verdict.cosignatures)
            LedgerOutput.line(LedgerOutput.text(leaf))
        }
    }

    private func leafBytes() throws -> [UInt8]? {
        guard let file = self.leaf else { return nil }
        guard
            let bytes = try DirectoryTileReader.read(file: file, limit: EntryBundle.maximumEntry)
        else { throw LaptopError(message: "there is no file \(file)") }
        return bytes
    }
}
