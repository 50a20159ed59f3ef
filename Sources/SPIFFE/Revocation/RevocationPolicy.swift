/// What a verifier does about SVIDs that may have been taken back.
///
/// What a list names is refused, however old the list is. The policy decides about all others when the list that should
/// name them is overdue: a CRL past its `nextUpdate`, a status list past its `exp`. By default such a list is believed
/// for another hour, see ``failClosed(after:)``.
///
/// When nothing is known about a trust domain, nothing is refused: agents of SPIRE tell nothing. Where a list was sent that
/// cannot be used, and none of before stands in for it, it counts as one that is overdue since then.
public struct RevocationPolicy: Sendable {
    /// What becomes of an SVID when the list that should name it is overdue.
    enum Overdue: Hashable, Sendable {
        /// Accepted for so long, then refused.
        case refused(after: Duration)
        case accepted
    }

    /// Nil checks nothing.
    let overdue: Overdue?
    /// Where it is known what was taken back; nil takes the source of the bundles, if it knows.
    public var source: (any RevocationSource)?
    /// Whether a live connection is closed when its peer's SVID is taken back, or when the limits of its trust domain get
    /// narrower than its SPIFFE ID. For the helpers that keep connections: TLS, HTTP, gRPC and Hummingbird.
    public var closesConnections: Bool

    private init(_ overdue: Overdue?) {
        self.overdue = overdue
        self.source = nil
        self.closesConnections = overdue != nil
    }

    /// Accepts what an overdue list does not name, for a while; then refuses it with `revocationUnknown`.
    ///
    /// An hour, because that is how long an X509-SVID lives by default: a server that is away for a moment takes nobody
    /// down, and who cuts a verifier off to keep a stolen SVID in use gains no more than its natural life.
    ///
    /// - Parameter bound: How long after its due time a list still counts; less than zero is zero.
    public static func failClosed(after bound: Duration = .seconds(3600)) -> RevocationPolicy {
        RevocationPolicy(.refused(after: max(bound, .zero)))
    }

    /// Accepts what an overdue list does not name, for ever. Who can keep news from this verifier can use what was taken
    /// back since.
    public static let failOpen = RevocationPolicy(.accepted)

    /// Checks nothing.
    public static let off = RevocationPolicy(nil)

    /// ``failClosed(after:)`` after an hour; connections of revoked peers are closed.
    public static let standard = RevocationPolicy.failClosed()

    /// The same, with another source than that of the bundles.
    public func asking(_ source: any RevocationSource) -> RevocationPolicy {
        var policy = self
        policy.source = source
        return policy
    }

    /// The same, without or with closing live connections.
    public func closingConnections(_ closes: Bool) -> RevocationPolicy {
        var policy = self
        policy.closesConnections = closes && self.overdue != nil
        return policy
    }
}
