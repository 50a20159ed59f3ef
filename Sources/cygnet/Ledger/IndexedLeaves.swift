import ServerStore
import Transparency

/// The leaves of a log that match, by an index: what came since the last time is read and checked, and each leaf that is
/// given is proved. Nothing else is read.
struct IndexedLeaves {
    /// Leaves that are looked up at a time.
    private static let page = 256

    let reader: any TileReader
    let verifier: ProofVerifier
    let key: VerifierKey

    /// - Parameters:
    ///   - path: The index, made when it is missing.
    ///   - last: How many leaves at most, the last of those that match.
    /// - Returns: what holds, the leaves in order, and whether there are earlier ones.
    /// - Throws: ``LogFault``, ``ServerError``, or ``LaptopError`` for a selection that nothing is indexed for.
    func matching(
        _ filter: LeafFilter, index path: String, last: Int
    ) async throws -> (
        report: LogVerifier.Report, shown: [(index: UInt64, bytes: [UInt8])], hasEarlier: Bool
    ) {
        guard let term = filter.term else {
            throw LaptopError(
                message: "the index does not know such leaves",
                hints: [
                    "give --spiffe-id, --serial, --jti, --entry-id, --node or --txn, or leave --index out"
                ])
        }
        let index = try LeafIndex(path: path, log: self.key)
        let report = try await index.extend(LogVerifier(self.reader, verifier: self.verifier))
        let builder = ProofBuilder(self.reader, checkpoint: report.signed)
        var shown: [(index: UInt64, bytes: [UInt8])] = []
        var bound = report.signed.checkpoint.size
        while true {
            let candidates = try index.leaves(with: term, before: bound, limit: Self.page)
            for candidate in candidates {
                let bytes = try await builder.proof(ofLeaf: candidate).extra ?? []
                guard let leaf = try? Leaf(parsing: bytes), filter.matches(leaf) else { continue }
                if shown.count == last { return (report, shown.reversed(), true) }
                shown.append((candidate, bytes))
            }
            guard candidates.count == Self.page, let lowest = candidates.last else {
                return (report, shown.reversed(), false)
            }
            bound = lowest
        }
    }
}
