#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// How many statements the processes of a user may have looked at, good or bad: signatures cost time before it is known
/// whose they are.
///
/// By user and not by process, for a process can make others. A thousand at once, then two hundred a second; one that does
/// not hold counts as ten.
struct CustodyAttempts: Sendable {
    static let burst = 1_000.0
    static let rate = 200.0
    static let costOfFailure = 10.0
    /// Users that are remembered.
    static let maximumUsers = 4_096

    private var users: [UInt32: (left: Double, at: Date)] = [:]

    /// Whether one more may be looked at, which counts.
    mutating func takes(user: UInt32, now: Date) -> Bool {
        let left = self.left(user, now)
        if left < 1 { return false }
        if self.users[user] == nil, self.users.count >= Self.maximumUsers {
            // Those that have been quiet long enough are as good as unknown.
            self.users = self.users.filter { self.left($0.key, now) < Self.burst }
            if self.users.count >= Self.maximumUsers { return false }
        }
        self.users[user] = (left - 1, now)
        return true
    }

    /// One that was looked at does not hold.
    mutating func failed(user: UInt32, now: Date) {
        let left = self.left(user, now) - (Self.costOfFailure - 1)
        // Some may be looked at side by side; nobody pays for that for long.
        self.users[user] = (max(left, -Self.burst), now)
    }

    private func left(_ user: UInt32, _ now: Date) -> Double {
        guard let known = self.users[user] else { return Self.burst }
        return min(Self.burst, known.left + max(0, now.timeIntervalSince(known.at)) * Self.rate)
    }
}
