package import SPIFFE

/// A registration entry that this agent may serve, with the fields an agent needs.
///
/// Parent, DNS names, lifetimes and expiry stay with the server, which applies them when it signs.
package struct AuthorizedEntry: Hashable, Sendable {
    package var id: String
    /// The identity the entry gives.
    package var spiffeID: SPIFFEID
    /// A workload matches when it has all of them; never empty.
    package var selectors: [Selector]
    /// Trust domains whose bundles the workload receives beside its own.
    package var federatesWith: [TrustDomain]
    package var isAdmin: Bool
    package var isDownstream: Bool
    /// The SVID is meant for an SVID store and not for the Workload API.
    package var isStored: Bool
    /// Tells a workload with several identities what this one is for; may be empty.
    package var hint: String
    /// Grows with every update on the server.
    package var revision: Int64
    /// Unix seconds; tells an entry from an earlier one with the same ID. 0 when the server did not
    /// say.
    package var createdAt: Int64
    /// Not signed before a workload asks.
    package var isSignedOnDemand: Bool
    /// Every JWT-SVID is to be new, with its own `jti`.
    package var includesJTI: Bool
    /// Its SVIDs are revoked when the last process that has had them here ends.
    package var revokesOnExit: Bool

    package init(
        id: String, spiffeID: SPIFFEID, selectors: [Selector], federatesWith: [TrustDomain] = [],
        isAdmin: Bool = false, isDownstream: Bool = false, isStored: Bool = false,
        hint: String = "",
        revision: Int64 = 0, createdAt: Int64 = 0, isSignedOnDemand: Bool = false,
        includesJTI: Bool = false, revokesOnExit: Bool = false
    ) {
        self.id = id
        self.spiffeID = spiffeID
        self.selectors = selectors
        self.federatesWith = federatesWith
        self.isAdmin = isAdmin
        self.isDownstream = isDownstream
        self.isStored = isStored
        self.hint = hint
        self.revision = revision
        self.createdAt = createdAt
        self.isSignedOnDemand = isSignedOnDemand
        self.includesJTI = includesJTI
        self.revokesOnExit = revokesOnExit
    }

    /// The order in which a workload receives its identities: oldest entry first, then by ID. It
    /// does not depend on rotation, so the default identity stays the same (Workload API §8).
    package static func precedes(_ left: AuthorizedEntry, _ right: AuthorizedEntry) -> Bool {
        (left.createdAt, left.id) < (right.createdAt, right.id)
    }

    /// Whether what was signed for `other` is out of date for this entry.
    package func isNewVersion(of other: AuthorizedEntry) -> Bool {
        self.revision != other.revision || self.createdAt != other.createdAt
    }
}

/// A change of the set of authorised entries, applied as a whole.
package struct EntryChange: Sendable {
    /// The upserted entries are all there are; everything else goes.
    package var isSnapshot: Bool
    package var upserted: [AuthorizedEntry]
    package var removedIDs: [String]
    /// What the sender holds the digest of the set to be afterwards; nil when it did not say.
    package var digest: EntryDigest?

    package init(
        isSnapshot: Bool = false, upserted: [AuthorizedEntry] = [], removedIDs: [String] = [],
        digest: EntryDigest? = nil
    ) {
        self.isSnapshot = isSnapshot
        self.upserted = upserted
        self.removedIDs = removedIDs
        self.digest = digest
    }
}
