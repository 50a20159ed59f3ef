extension TileReader {
    /// Reads the leaves of a log in order. Nothing is checked: whoever wants to believe a leaf proves it, or uses
    /// ``LogVerifier``.
    ///
    /// - Parameters:
    ///   - size: How many leaves the log has.
    ///   - visit: Called for each leaf; false ends the reading.
    /// - Throws: ``LogFault`` for a bundle that is missing or malformed; what `visit` and the reader throw.
    package func unverifiedLeaves(
        size: UInt64, visit: (_ index: UInt64, _ leaf: ArraySlice<UInt8>) throws -> Bool
    ) async throws {
        var index: UInt64 = 0
        while let tile = Tile(.entries, index: index, size: size) {
            for (offset, entry) in try await self.entries(tile).enumerated() {
                guard try visit(index << 8 + UInt64(offset), entry) else { return }
            }
            index += 1
        }
    }
}
