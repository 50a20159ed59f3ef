import SPIFFE
import SPIFFEFederation
import SPIFFETesting
import Testing

@Suite("Order of bundles") struct BundleUpdateDecisionTests {
    private func bundle(
        _ authority: TestAuthority, sequence: UInt64?
    ) throws -> SPIFFEBundle {
        try SPIFFEBundle(
            trustDomain: authority.trustDomain,
            x509Authorities: try authority.x509Bundle.authoritiesDER, sequenceNumber: sequence)
    }

    @Test("FED-33: an older sequence number replaces nothing; without numbers the last one counts")
    func order() throws {
        let old = try TestAuthority("partner.test")
        let new = try TestAuthority("partner.test")
        func decide(_ fetched: UInt64?, _ current: UInt64?) throws -> BundleUpdateDecision {
            .decide(
                fetched: try self.bundle(new, sequence: fetched),
                current: try self.bundle(old, sequence: current))
        }
        #expect(try decide(7, 9) == .isOlder(sequenceNumber: 7, current: 9))
        #expect(try decide(0, .max) == .isOlder(sequenceNumber: 0, current: .max))
        #expect(try decide(10, 9) == .replaces)
        #expect(try decide(.max, 9_007_199_254_740_993) == .replaces)
        #expect(try decide(9, 9) == .replaces)
        #expect(try decide(nil, nil) == .replaces)
        #expect(try decide(nil, 9) == .replaces)
        #expect(try decide(9, nil) == .replaces)
        let same = try self.bundle(new, sequence: 3)
        #expect(BundleUpdateDecision.decide(fetched: same, current: nil) == .replaces)
        #expect(BundleUpdateDecision.decide(fetched: same, current: same) == .unchanged)
    }
}
