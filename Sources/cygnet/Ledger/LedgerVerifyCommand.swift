import ArgumentParser
import Transparency

/// `cygnet ledger verify`: the whole log. Exit code 0 only when everything holds.
struct LedgerVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check a whole ledger; else name the leaf or tile at fault.")

    @OptionGroup var place: LedgerPlace
    @OptionGroup var trust: LedgerTrust

    @Option(
        help:
            "File with an older checkpoint that the ledger must begin with; may be given several times."
    )
    var against: [String] = []

    func run() async throws {
        try await LedgerOutput.reporting {
            let reader = try self.place.reader()
            let key = try self.trust.verifierKey()
            var old: [Checkpoint] = []
            for file in self.against {
                guard
                    let bytes = try DirectoryTileReader.read(
                        file: file, limit: SignedNote.maximumBytes)
                else { throw LaptopError(message: "there is no file \(file)") }
                do throws(TransparencyError) {
                    old.append(try SignedCheckpoint(parsing: bytes, signedBy: key).checkpoint)
                } catch {
                    throw LaptopError(message: "\(file): \(error.message)")
                }
            }
            let verifier = LogVerifier(reader, verifier: try self.trust.verifier(), against: old)
            var malformed: UInt64 = 0
            let report = try await verifier.verify { _, leaf in
                // Leaves of other programs may have any form; the log holds all the same.
                if (try? Leaf(parsing: Array(leaf))) == nil { malformed += 1 }
            }
            let checkpoint = report.signed.checkpoint
            LedgerOutput.line(
                "\(checkpoint.origin) holds: \(checkpoint.size) leaves, root \(checkpoint.root.base64)"
            )
            for size in report.oldSizes {
                LedgerOutput.line("begins with the \(size) leaves of the older checkpoint")
            }
            LedgerOutput.cosignatures(report.cosignatures)
            if malformed > 0 {
                LedgerOutput.note("warning: \(malformed) leaves are not in the ledger's schema")
            }
        }
    }
}
