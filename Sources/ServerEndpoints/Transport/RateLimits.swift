import NIOConcurrencyHelpers
import ServerCore

/// Token buckets per client IP address, of IPv6 per network of 64 bits, and kind of call; the admin socket has none.
///
/// A call waits for its turn; it fails only when it asks for more than one second's worth at once.
package final class RateLimits: Sendable {
    private struct Bucket {
        /// The instant at which the bucket is empty of debts; in the past means tokens have gathered.
        var free: ContinuousClock.Instant
    }

    private struct Key: Hashable {
        let kind: String
        let address: String
    }

    /// Calls per second by kind.
    private let rates: [String: Double]
    private let kinds: [String: String]
    private struct State {
        var buckets: [Key: Bucket] = [:]
        /// With so many it is time to forget those that are full.
        var sweepAt = RateLimits.leastSweep
    }

    private static let leastSweep = 10_000
    private let state = NIOLockedValueBox(State())

    /// - Parameters:
    ///   - attestation: whether attestation is limited to 1 a second per address.
    ///   - signing: whether signing is limited to 500 a second per address.
    package init(attestation: Bool, signing: Bool) {
        // Custody in KiB a second: what is recorded is never deleted.
        // Ends of workloads: each may be a revocation, which is stored, recorded and told to everybody.
        var rates: [String: Double] = ["status": 10, "custody": 64, "end": 100]
        if attestation { rates["attest"] = 1 }
        if signing {
            rates["sign"] = 500
            rates["push"] = 500
        }
        self.rates = rates
        self.kinds = [
            "spire.api.server.agent.v1.Agent/AttestAgent": "attest",
            "spire.api.server.agent.v1.Agent/RenewAgent": "sign",
            "spire.api.server.agent.v1.Agent/PostStatus": "status",
            "spire.api.server.bundle.v1.Bundle/PublishJWTAuthority": "push",
            "spire.api.server.bundle.v1.Bundle/PublishWITAuthority": "push",
            "spire.api.server.svid.v1.SVID/NewJWTSVID": "sign",
            "spire.api.server.svid.v1.SVID/BatchNewX509SVID": "sign-items",
            "spire.api.server.svid.v1.SVID/BatchNewWITSVID": "sign-items",
        ]
    }

    /// Waits until one call of the method may proceed.
    func wait(method: String, address: String) async throws {
        guard let kind = self.kinds[method], kind != "sign-items" else { return }
        try await self.wait(kind: kind, count: 1, address: address)
    }

    /// Waits until `count` signatures may be made for the address.
    ///
    /// - Throws: ``ServerError`` `resourceExhausted` for more than one second's worth at once.
    func waitToSign(_ count: Int, address: String?) async throws {
        guard let address else { return }
        try await self.wait(kind: "sign", count: count, address: address)
    }

    /// Waits until a statement of that many bytes, receipt included, may be recorded for the address.
    func waitForCustody(bytes: Int, address: String?) async throws {
        guard let address else { return }
        try await self.wait(
            kind: "custody", count: max(1, min(bytes / 1_024, 32)), address: address)
    }

    /// Waits until the end of a workload may be looked into for the address.
    ///
    /// - Parameter cost: ``RevocationRegistry/costOfEnd(entryID:agent:)``; what is above one second's worth counts as that.
    func waitForEnd(cost: Int, address: String?) async throws {
        guard let address else { return }
        try await self.wait(kind: "end", count: max(1, min(cost, 100)), address: address)
    }

    /// Waits like ``waitToSign(_:address:)``, taking a large batch in parts instead of refusing it.
    func waitInParts(_ count: Int, address: String?) async throws {
        var rest = count
        while rest > 0 {
            let part = min(rest, 100)
            try await self.waitToSign(part, address: address)
            rest -= part
        }
    }

    private func wait(kind: String, count: Int, address: String) async throws {
        let delay = try self.delay(kind: kind, count: count, address: address, now: .now)
        if delay > .zero { try await Task.sleep(for: delay) }
    }

    /// How long a call must wait, which is taken from the bucket.
    ///
    /// - Parameter address: as the connection has it.
    /// - Throws: ``ServerError`` `resourceExhausted` for more than one second's worth at once.
    func delay(
        kind: String, count: Int, address: String, now: ContinuousClock.Instant
    ) throws(ServerError) -> Duration {
        guard let rate = self.rates[kind] else { return .zero }
        guard Double(count) <= max(rate, 1) else {
            throw ServerError(
                .resourceExhausted,
                "rate (\(count)) exceeds burst size (\(Int(rate))); ask for fewer at once")
        }
        let key = Key(kind: kind, address: CallerNetwork.counted(address))
        return self.state.withLockedValue { state -> Duration in
            // A full bucket holds one second's worth.
            let earliest = now - .seconds(1)
            if state.buckets.count >= state.sweepAt {
                state.buckets = state.buckets.filter { $0.value.free > earliest }
                state.sweepAt = max(Self.leastSweep, 2 * state.buckets.count)
            }
            var free = max(state.buckets[key]?.free ?? earliest, earliest)
            free += .seconds(Double(count) / rate)
            state.buckets[key] = Bucket(free: free)
            return now.duration(to: free)
        }
    }
}
