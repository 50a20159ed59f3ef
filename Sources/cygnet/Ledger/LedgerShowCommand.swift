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
            checked. With --index only what came since the last call is read and checked, and each leaf that is shown is \
            proved; the file is believed like an older checkpoint.
            """)

    @OptionGroup var place: LedgerPlace
    @OptionGroup var trust: LedgerTrust
    @OptionGroup var selection: LedgerSelection

    @Option(help: "Only the last so many of them, at most 100000.")
    var last = 1000

    @Option(
        help: "Write a proof of each leaf that is shown into this folder, as <index>.tlog-proof.")
    var prove: String?

    @Option(
        help:
            "A file that remembers what was checked and where what is. It is made when it is missing."
    )
    var index: String?

    func run() async throws {
        try await LedgerOutput.reporting {
            guard (1...100_000).contains(self.last) else {
                throw LaptopError(message: "--last \(self.last): expected 1 to 100000")
            }
            let filter = try self.selection.filter()
            let reader = try self.place.reader()
            if let index = self.index {
                let (report, shown, hasEarlier) = try await IndexedLeaves(
                    reader: reader, verifier: self.trust.verifier(), key: self.trust.verifierKey()
                ).matching(filter, index: index, last: self.last)
                try await self.print(shown, reader, report.signed)
                if hasEarlier {
                    LedgerOutput.note("earlier leaves are not shown; --last shows more")
                }
                return
            }
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
            try await self.print(shown, reader, report.signed)
            if dropped > 0 {
                LedgerOutput.note("\(dropped) earlier leaves are not shown; --last shows more")
            }
        }
    }

    private func print(
        _ shown: [(index: UInt64, bytes: [UInt8])], _ reader: any TileReader,
        _ signed: SignedCheckpoint
    ) async throws {
        for line in try self.lines(shown) { LedgerOutput.line(line) }
        guard let folder = self.prove else { return }
        try await LeafProofs.write(shown.map(\.index), of: reader, signed, into: folder)
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
