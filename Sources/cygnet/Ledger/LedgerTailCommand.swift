import ArgumentParser
import Transparency

/// `cygnet ledger tail`: leaves as they come, each one checked before it is printed.
struct LedgerTailCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tail",
        abstract: "Print new leaves as they come, one a line: index, a tab, the leaf.",
        discussion:
            "Each new checkpoint must continue the one before it; the command fails when the log shows another history."
    )

    @OptionGroup var place: LedgerPlace
    @OptionGroup var trust: LedgerTrust
    @OptionGroup var selection: LedgerSelection

    @Option(help: "How many of the leaves that are there to begin with, at most 1000.")
    var last = 10

    @Option(help: "How often to look, in seconds.")
    var interval = 2.0

    @Option(help: "End after so many looks; default: never.")
    var looks: Int?

    func run() async throws {
        try await LedgerOutput.reporting {
            guard (0...1000).contains(self.last), (0.05...86_400).contains(self.interval) else {
                throw LaptopError(
                    message: "--last must be 0 to 1000, and --interval 0.05 to 86400")
            }
            let filter = try self.selection.filter()
            let reader = try self.place.reader()
            let verifier = LogVerifier(reader, verifier: try self.trust.verifier())
            var seen = try await verifier.checkpoint().signed
            let builder = ProofBuilder(reader, checkpoint: seen)
            var frontier = try await builder.frontier()
            let size = seen.checkpoint.size
            for index in size - min(size, UInt64(self.last))..<size {
                if let leaf = try await builder.proof(ofLeaf: index).extra {
                    Self.show(index, leaf[...], filter)
                }
            }
            var count = 1
            while self.looks.map({ count < $0 }) ?? true {
                try await Task.sleep(for: .seconds(self.interval))
                count += 1
                let next = try await verifier.checkpoint().signed
                try await self.follow(reader, &frontier, from: seen, to: next, filter)
                seen = next
            }
        }
    }

    /// Appends the new leaves to what is known and compares the root, so that the old log and the new leaves are
    /// proved at once; then prints them.
    private func follow(
        _ reader: any TileReader, _ frontier: inout MerkleFrontier, from old: SignedCheckpoint,
        to new: SignedCheckpoint, _ filter: LeafFilter
    ) async throws {
        let (start, end) = (old.checkpoint.size, new.checkpoint.size)
        guard end >= start else {
            throw LogFault(.leaves(end..<start), "missing: the log was longer a moment ago")
        }
        var lines: [(UInt64, ArraySlice<UInt8>)] = []
        var index = start
        while index < end {
            guard let tile = Tile(.entries, index: index >> 8, size: end) else { break }
            for entry in try await reader.entries(tile).dropFirst(Int(index & 255)) {
                frontier.append(.leaf(entry))
                if Self.matches(entry, filter) { lines.append((index, entry)) }
                index += 1
            }
            // Nothing is printed before it is proved, so there is a bound on how much that is.
            guard lines.count <= 200_000 else {
                throw LaptopError(
                    message: "more than 200000 new leaves at once",
                    hints: ["select more narrowly, or use \"cygnet ledger show\""])
            }
        }
        guard frontier.root == new.checkpoint.root else {
            throw LogFault(
                .leaves(0..<max(end, 1)),
                "the log of \(end) leaves does not continue the one of \(start) leaves that was seen before, or its "
                    + "entries were changed")
        }
        for (index, entry) in lines { Self.show(index, entry, filter) }
    }

    private static func matches(_ entry: ArraySlice<UInt8>, _ filter: LeafFilter) -> Bool {
        (try? Leaf(parsing: Array(entry))).map(filter.matches) ?? filter.isEmpty
    }

    private static func show(_ index: UInt64, _ entry: ArraySlice<UInt8>, _ filter: LeafFilter) {
        if self.matches(entry, filter) {
            LedgerOutput.line("\(index)\t\(LedgerOutput.text(entry))")
        }
    }
}
