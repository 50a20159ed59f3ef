#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// When a certificate or token is replaced: at half its life, moved by up to a tenth of that half
/// either way so that what was signed together is not renewed together.
package struct RotationPolicy: Sendable {
    /// How much life a certificate must have left at all times, at least a day; nil for half life.
    package var availabilityTarget: Duration?

    package init(availabilityTarget: Duration? = nil) {
        self.availabilityTarget = availabilityTarget
    }

    /// - Parameters:
    ///   - jitter: From 0 up to 1, chosen at random once per certificate.
    package func rotationDate(notBefore: Date, notAfter: Date, jitter: Double) -> Date {
        let lifetime = notAfter.timeIntervalSince(notBefore)
        if let target = self.availabilityTarget.map(Self.seconds), lifetime - target >= 12 * 3600 {
            // A target that leaves less than twelve hours between renewals is not worth keeping to.
            return notAfter.addingTimeInterval(-target - jitter * 600)
        }
        let half = lifetime / 2
        return notBefore.addingTimeInterval(half + half * 0.1 * (2 * jitter - 1))
    }

    static func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }
}
