import NIOConcurrencyHelpers
import ServerCore

/// Token buckets per client IP address and kind of call; the admin socket has none.
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
    private let buckets = NIOLockedValueBox<[Key: Bucket]>([:])

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
    /// - Parameter cost: ``RevocationRegistry/costOfEnd(entryID:)``; what is above one second's worth counts as that.
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
        guard let rate = self.rates[kind] else { return }
        guard Double(count) <= max(rate, 1) else {
            throw ServerError(
                .resourceExhausted,
                "rate (\(count)) exceeds burst size (\(Int(rate))); ask for fewer at once")
        }
        let now = ContinuousClock.now
        let delay = self.buckets.withLockedValue { buckets -> Duration in
            if buckets.count > 10_000 {
                buckets = buckets.filter { $0.value.free > now - .seconds(60) }
            }
            let key = Key(kind: kind, address: address)
            // A full bucket holds one second's worth.
            let earliest = now - .seconds(1)
            var free = max(buckets[key]?.free ?? earliest, earliest)
            free += .seconds(Double(count) / rate)
            buckets[key] = Bucket(free: free)
            return now.duration(to: free)
        }
        if delay > .zero { try await Task.sleep(for: delay) }
    }
}
