import ArgumentParser

/// The value of a flag that takes a duration in Go's notation, such as `1h30m`.
package struct DurationArgument: Sendable, Hashable, ExpressibleByArgument {
    /// The duration; never negative.
    package let duration: Duration

    /// Makes the value, for a default.
    package init(_ duration: Duration) { self.duration = duration }

    package init?(argument: String) {
        guard let duration = GoDuration.parse(argument), duration >= .zero else { return nil }
        self.duration = duration
    }

    package var defaultValueDescription: String { GoDuration.format(self.duration) }

    /// Whole seconds, rounded up, as far as 32 bits go.
    package var wholeSeconds: Int32 {
        let (seconds, attoseconds) = self.duration.components
        return Int32(clamping: attoseconds > 0 ? seconds + 1 : seconds)
    }
}
