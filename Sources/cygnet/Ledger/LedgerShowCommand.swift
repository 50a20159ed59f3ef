import ArgumentParser
import Transparency

/// `cygnet ledger show`: leaves, after the whole log was checked.
struct LedgerShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Print leaves of a ledger that holds, one a line: index, a tab, the leaf.",
        discussion: "When the ledger does not hold, nothing is printed but what is wrong.")

    @OptionGroup var place: LedgerPlace
    @OptionGroup var trust: LedgerTrust
    @OptionGroup var selection: LedgerSelection

    @Option(help: "Only the last so many of them, at most 100000.")
    var last = 1000

    func run() async throws {
        try await LedgerOutput.reporting {
            guard (1...100_000).contains(self.last) else {
                throw LaptopError(message: "--last \(self.last): expected 1 to 100000")
            }
            let filter = try self.selection.filter()
            let reader = try self.place.reader()
            var lines: [String] = []
            var dropped = 0
            _ = try await LogVerifier(reader, verifier: self.trust.verifier()).verify {
                index, bytes in
                let leaf = try? Leaf(parsing: Array(bytes))
                guard leaf.map(filter.matches) ?? filter.isEmpty else { return }
                lines.append("\(index)\t\(LedgerOutput.text(bytes))")
                // Twice as many are kept, so that the rest is moved rarely.
                if lines.count >= 2 * self.last {
                    dropped += lines.count - self.last
                    lines.removeFirst(lines.count - self.last)
                }
            }
            dropped += max(0, lines.count - self.last)
            for line in lines.suffix(self.last) { LedgerOutput.line(line) }
            if dropped > 0 {
                LedgerOutput.note("\(dropped) earlier leaves are not shown; --last shows more")
            }
        }
    }
}
