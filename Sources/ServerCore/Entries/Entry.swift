package import SPIFFE

/// A registration entry: which workloads (by selectors) under which parent get which SPIFFE ID.
///
/// Valid by construction as far as the types go; the rules between the fields are ``EntryValidation``.
package struct Entry: Sendable, Hashable {
    /// Unique; at most 255 of `A-Za-z0-9._-`.
    package var id: String
    package var spiffeID: SPIFFEID
    package var parentID: SPIFFEID
    /// Sorted, without duplicates, never empty.
    package var selectors: [Selector]
    /// Seconds; 0 means the server's default.
    package var x509SVIDTTL: Int32 = 0
    /// Seconds; 0 means the server's default.
    package var jwtSVIDTTL: Int32 = 0
    /// Trust domains whose bundles go with the identity. Sorted.
    package var federatesWith: [TrustDomain] = []
    /// Names of groups whose members are federated with too; see ``TrustDomainGroups``. Sorted.
    package var federatesWithGroups: [String] = []
    package var admin = false
    package var downstream = false
    /// Unix seconds; 0 means never.
    package var expiresAt: Int64 = 0
    package var dnsNames: [String] = []
    /// 0 at creation, one more with every update.
    package var revision: Int64 = 0
    package var storeSVID = false
    package var hint = ""
    /// Unix seconds.
    package var createdAt: Int64 = 0
    package var disableX509SVIDPrefetch = false
    package var jwtSVIDIncludeJTI = false
    /// What an agent obtained for the entry is revoked when the last process that it served with that has ended.
    package var revokesOnExit = false

    package init(id: String, spiffeID: SPIFFEID, parentID: SPIFFEID, selectors: [Selector]) {
        self.id = id
        self.spiffeID = spiffeID
        self.parentID = parentID
        self.selectors = selectors
    }
}
