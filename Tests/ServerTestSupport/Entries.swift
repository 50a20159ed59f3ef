import SPIFFE
package import ServerCore

extension Entry {
    /// An entry of `acme.test`; selectors as `type:value`, made canonical.
    package static func test(
        _ id: String, _ path: String, parent: String, _ selectors: [String] = ["unix:uid:1"]
    ) throws -> Entry {
        let domain = try TrustDomain("acme.test")
        return Entry(
            id: id, spiffeID: try SPIFFEID(trustDomain: domain, path: path),
            parentID: try SPIFFEID(trustDomain: domain, path: parent),
            selectors: try Set(selectors).map { text throws in try Selector(text) }.sorted())
    }
}

/// A small generator of random numbers whose sequence is fixed by the seed.
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { self.state = seed }

    package mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
