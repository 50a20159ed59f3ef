import ServerCore
import Testing

@testable import ServerEndpoints

@Suite struct RateLimitsTests {
    private let now = ContinuousClock.now

    private func delay(_ limits: RateLimits, _ address: String, after: Duration = .zero) throws
        -> Duration
    {
        try limits.delay(kind: "attest", count: 1, address: address, now: self.now + after)
    }

    @Test func `an address waits for its turn, another one does not`() throws {
        let limits = RateLimits(attestation: true, signing: true)
        #expect(try self.delay(limits, "192.0.2.1") == .zero)
        #expect(try self.delay(limits, "192.0.2.1") == .seconds(1))
        #expect(try self.delay(limits, "192.0.2.2") == .zero)
        #expect(try self.delay(limits, "192.0.2.1", after: .seconds(3)) == .zero)
    }

    @Test func `addresses of one IPv6 network have one bucket`() throws {
        let limits = RateLimits(attestation: true, signing: true)
        #expect(try self.delay(limits, "2001:db8::1") == .zero)
        #expect(try self.delay(limits, "2001:db8::2") == .seconds(1))
        #expect(try self.delay(limits, "2001:db8:0:0:1:2:3:4") == .seconds(2))
        #expect(try self.delay(limits, "2001:db8:0:1::1") == .zero)
        #expect(try self.delay(limits, "::ffff:192.0.2.1") == .zero)
        #expect(try self.delay(limits, "192.0.2.1") == .seconds(1))
    }

    @Test func `who is in debt is not forgotten among many`() throws {
        let limits = RateLimits(attestation: true, signing: true)
        for _ in 0..<5 { _ = try self.delay(limits, "192.0.2.1") }
        for number in 0..<25_000 {
            _ = try self.delay(
                limits, "2001:db8:\(String(number, radix: 16))::1", after: .seconds(2))
        }
        #expect(try self.delay(limits, "192.0.2.1", after: .seconds(2)) == .seconds(3))
    }

    @Test func `more than a second's worth at once is refused`() {
        let limits = RateLimits(attestation: true, signing: true)
        let error = #expect(throws: ServerError.self) {
            try limits.delay(kind: "sign", count: 501, address: "192.0.2.1", now: self.now)
        }
        #expect(error?.code == .resourceExhausted)
    }
}
