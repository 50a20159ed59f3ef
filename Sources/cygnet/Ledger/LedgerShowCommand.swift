import ArgumentParser
import Transparency

/// `cygnet ledger show`: leaves, after the whole log was checked.
struct LedgerShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Print leaves of a ledger that holds, one a line: index, a tab, the leaf.",
        discussion: """
            When the ledger does not hold, nothing is printed but what is wrong. With --txn, what workloads stated about \
            that transaction is printed in the order in which it was recorded, each statement after its signature was \
            checked.
            """)

    @OptionGroup var place: LedgerPlace
    @OptionGroup var trust: LedgerTrust
    @OptionGroup var selection: LedgerSelection

    @Option(help: "Only the last so many of them, at most 100000.")
    var last = 1000

    @Option(
        help: "Write a proof of each leaf that is shown into this folder, as <index>.tlog-proof.")
    var prove: String?

    func run() async throws {
        try await LedgerOutput.reporting {
            guard (1...100_000).contains(self.last) else {
                throw LaptopError(message: "--last \(self.last): expected 1 to 100000")
            }
            let filter = try self.selection.filter()
            let reader = try self.place.reader()
            var shown: [(index: UInt64, bytes: [UInt8])] = []
            var dropped = 0
            let report = try await LogVerifier(reader, verifier: self.trust.verifier()).verify {
                index, bytes in
                let leaf = try? Leaf(parsing: Array(bytes))
                guard leaf.map(filter.matches) ?? filter.isEmpty else { return }
                shown.append((index, Array(bytes)))
                // Twice as many are kept, so that the rest is moved rarely.
                if shown.count >= 2 * self.last {
                    dropped += shown.count - self.last
                    shown.removeFirst(shown.count - self.last)
                }
            }
            dropped += max(0, shown.count - self.last)
            shown.removeFirst(max(0, shown.count - self.last))
            for line in try self.lines(shown) { LedgerOutput.line(line) }
            if let folder = self.prove {
                try await LeafProofs.write(
                    shown.map(\.index), of: reader, report.signed, into: folder)
            }
            if dropped > 0 {
                LedgerOutput.note("\(dropped) earlier leaves are not shown; --last shows more")
            }
        }
    }

    /// The leaves as they are, or what they say about a transaction.
    private func lines(_ shown: [(index: UInt64, bytes: [UInt8])]) throws -> [String] {
        guard self.selection.txn != nil else {
            return shown.map { "\($0.index)\t\(LedgerOutput.text($0.bytes))" }
        }
        let chain = try CustodyChain(try shown.map { ($0.index, try Leaf(parsing: $0.bytes)) })
        if chain.links.isEmpty { LedgerOutput.note("nobody stated anything about it") }
        return chain.lines
    }
}
