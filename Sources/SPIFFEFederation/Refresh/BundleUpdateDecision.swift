public import SPIFFE

/// What becomes of a bundle that was fetched, next to the one at hand (SPIFFE Federation §4.2).
public enum BundleUpdateDecision: Sendable, Hashable {
    /// It takes the other's place, whole: authorities that it leaves out are trusted no more.
    case replaces
    /// It is the same.
    case unchanged
    /// Its sequence number is lower: an older bundle is served again. The one at hand stays.
    case isOlder(sequenceNumber: UInt64, current: UInt64)

    /// Decides by sequence number. Where one of the two has none, or the numbers are the same, the order is not known,
    /// and what was fetched last counts.
    ///
    /// - Parameters:
    ///   - fetched: What an endpoint has served.
    ///   - current: The one at hand; nil when there is none. Of the same trust domain.
    public static func decide(
        fetched: SPIFFEBundle, current: SPIFFEBundle?
    ) -> BundleUpdateDecision {
        guard let current else { return .replaces }
        if let new = fetched.sequenceNumber, let old = current.sequenceNumber, new < old {
            return .isOlder(sequenceNumber: new, current: old)
        }
        return fetched == current ? .unchanged : .replaces
    }
}
