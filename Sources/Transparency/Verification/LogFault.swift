/// Where a log does not hold.
package struct LogFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is to blame, as closely as can be told.
    package enum Place: Hashable, Sendable {
        /// The signed checkpoint itself.
        case checkpoint
        /// One file, by its path.
        case tile(String)
        /// One leaf, by its index.
        case leaf(UInt64)
        /// One of these leaves: all files agree with each other, and a checkpoint does not agree with them.
        case leaves(Range<UInt64>)
    }

    /// What is to blame.
    package let place: Place
    /// What was found there, for people.
    package let message: String

    package init(_ place: Place, _ message: String) {
        self.place = place
        self.message = message
    }

    package var description: String {
        switch self.place {
        case .checkpoint: "checkpoint: \(self.message)"
        case .tile(let path): "\(path): \(self.message)"
        case .leaf(let index): "leaf \(index): \(self.message)"
        case .leaves(let range) where range.count == 1: "leaf \(range.lowerBound): \(self.message)"
        case .leaves(let range):
            "leaves \(range.lowerBound) to \(range.upperBound - 1): \(self.message)"
        }
    }
}
