package import SPIFFE

/// What a revocation hits, or would hit.
package struct RevocationHits: Sendable, Hashable {
    /// The most SPIFFE IDs that are named.
    package static let maxNamed = 100

    /// Live SVIDs.
    package var x509SVIDs = 0
    package var jwtSVIDs = 0
    package var witSVIDs = 0
    /// Registration entries that it covers.
    package var entries = 0
    /// Attested agents that it covers.
    package var agents = 0
    /// SPIFFE IDs of the live SVIDs, ordered, the first of them.
    package var spiffeIDs: [SPIFFEID] = []
    package var spiffeIDCount = 0

    package init() {}

    /// All live SVIDs.
    package var svids: Int { self.x509SVIDs + self.jwtSVIDs + self.witSVIDs }
}
