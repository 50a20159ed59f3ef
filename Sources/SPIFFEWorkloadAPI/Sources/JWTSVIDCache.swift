public import Foundation
import NIOConcurrencyHelpers
public import SPIFFE

/// Keeps JWT-SVIDs of another source for as long as they are fresh, so that not every request asks the
/// Workload API.
///
/// A token is used until half of the time it had left when it came is over; then the source is asked again.
/// While the source fails, the old token is used to its end, and the source is left alone for five seconds
/// after each failure. A token that was withdrawn is therefore used at most until it expires, which is what
/// its receivers go by in any case.
public final class JWTSVIDCache: JWTSVIDSource, Sendable {
    private struct Key: Hashable {
        let audience: [String]
        let id: SPIFFEID?
    }

    private struct Entry {
        let svid: JWTSVID
        /// When to ask the source again.
        var renewAt: Date
    }

    /// A token that ends sooner is not handed out while the source fails: it would expire on the way.
    private static let leastLifetime: TimeInterval = 10
    private static let pauseAfterFailure: TimeInterval = 5

    private let source: any JWTSVIDSource
    private let maximumTokens: Int
    private let now: @Sendable () -> Date
    private let entries = NIOLockedValueBox<[Key: Entry]>([:])

    /// - Parameters:
    ///   - source: Who is asked for tokens.
    ///   - maximumTokens: How many audiences are remembered at once; the token that ends first makes room.
    ///   - now: The time, UTC.
    public init(
        _ source: any JWTSVIDSource, maximumTokens: Int = 64,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.source = source
        self.maximumTokens = max(1, maximumTokens)
        self.now = now
    }

    /// The token at hand, or a new one.
    ///
    /// - Throws: What the source throws when there is no token to fall back to.
    public func jwtSVID(audience: [String], id: SPIFFEID? = nil) async throws -> JWTSVID {
        let key = Key(audience: audience, id: id)
        let known = self.entries.withLockedValue { $0[key] }
        let asked = self.now()
        if let known, asked < known.renewAt { return known.svid }
        do {
            let svid = try await self.source.jwtSVID(audience: audience, id: id)
            self.keep(svid, key)
            return svid
        } catch {
            guard let known, !(error is CancellationError),
                known.svid.expiresAt.timeIntervalSince(self.now()) > Self.leastLifetime
            else { throw error }
            self.entries.withLockedValue {
                $0[key]?.renewAt = asked.addingTimeInterval(Self.pauseAfterFailure)
            }
            return known.svid
        }
    }

    private func keep(_ svid: JWTSVID, _ key: Key) {
        let now = self.now()
        let left = svid.expiresAt.timeIntervalSince(now)
        self.entries.withLockedValue { entries in
            guard left > 0 else { return }
            entries[key] = Entry(svid: svid, renewAt: now.addingTimeInterval(left / 2))
            while entries.count > self.maximumTokens,
                let first = entries.filter({ $0.key != key })
                    .min(by: { $0.value.svid.expiresAt < $1.value.svid.expiresAt })
            {
                entries[first.key] = nil
            }
        }
    }
}
