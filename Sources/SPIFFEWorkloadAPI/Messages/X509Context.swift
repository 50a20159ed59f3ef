public import SPIFFE

/// All that the Workload API says about X.509 at one moment: the identities of this process and the
/// bundles it may verify peers with.
///
/// Each one replaces the one before it whole: what it leaves out is withdrawn (Workload API §4.4).
public struct X509Context: Sendable, Equatable {
    /// The X509-SVIDs in the server's order; the first is the default identity. Empty when the server
    /// has withdrawn them all. Of two with one hint only the first is here.
    public let svids: [X509SVID]
    /// The bundles of the own and of federated trust domains, for X509-SVIDs only.
    public let bundles: X509BundleSet
    /// Certificate revocation lists, one DER CRL each.
    public let revocationLists: [[UInt8]]

    /// Puts a context together, for tests and for other sources.
    public init(svids: [X509SVID], bundles: X509BundleSet, revocationLists: [[UInt8]] = []) {
        self.svids = svids
        self.bundles = bundles
        self.revocationLists = revocationLists
    }

    /// Nothing: no identity, nobody trusted.
    public static let empty = X509Context(svids: [], bundles: X509BundleSet())
}
