/// Where it is known what partners are trusted with.
///
/// The sources of the Workload API are such sources; verifiers that are given one of them for bundles ask it without being
/// told to. Answers are asked for at each verification: an implementer hands out what it has now, without blocking.
public protocol PartnerLimitSource: Sendable {
    /// The limits of exactly this trust domain.
    ///
    /// - Returns: nil when it has none, as our own trust domain, and any with an agent that knows no limits.
    ///   ``TrustDomainLimits/unknown(of:)`` while they are yet to be told.
    func partnerLimits(for trustDomain: TrustDomain) -> TrustDomainLimits?

    /// Asks to be told of changes, for those who keep connections open; rules as
    /// ``RevocationSource/observeRevocations(_:)``.
    func observePartnerLimits(_ onChange: @escaping @Sendable () -> Void) -> RevocationObservation?
}

extension PartnerLimitSource {
    /// Never changes.
    public func observePartnerLimits(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { nil }
}

extension TrustDomainLimits: PartnerLimitSource {
    /// Itself for its own trust domain, nil for any other.
    public func partnerLimits(for trustDomain: TrustDomain) -> TrustDomainLimits? {
        trustDomain == self.trustDomain ? self : nil
    }
}
