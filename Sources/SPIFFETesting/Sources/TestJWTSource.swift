import NIOConcurrencyHelpers
public import SPIFFE

/// A JWT source without Workload API: issues tokens of a ``TestAuthority`` and holds the bundles that the test
/// gives it.
///
/// Takes the place of `JWTSource` wherever a `JWTSVIDSource` or `JWTBundleSource` is asked for.
public final class TestJWTSource: JWTSVIDSource, JWTBundleSource, RevocationSource,
    PartnerLimitSource, Sendable
{
    private struct State {
        var issue: (@Sendable ([String], SPIFFEID?) throws -> JWTSVID)?
        var bundles: JWTBundleSet
        var requests = 0
    }

    private let state: NIOLockedValueBox<State>
    private let revocations = TestRevocationState()
    private let limits = TestPartnerLimitState()

    /// - Parameters:
    ///   - bundles: Whom it believes.
    ///   - issue: Gives a token for an audience and the identity asked for; nil is a program without identity.
    public init(
        bundles: [JWTBundle], issue: (@Sendable ([String], SPIFFEID?) throws -> JWTSVID)? = nil
    ) {
        self.state = NIOLockedValueBox(State(issue: issue, bundles: JWTBundleSet(bundles)))
    }

    /// A program with this identity.
    ///
    /// - Parameters:
    ///   - authority: Who issues its SVIDs.
    ///   - path: The path of its SPIFFE ID.
    ///   - federated: Whom it believes beside its own trust domain.
    public convenience init(
        _ authority: TestAuthority, _ path: String, federatedWith federated: [TestAuthority] = []
    ) {
        self.init(bundles: ([authority] + federated).map(\.jwtBundle)) { audience, id in
            let own = try authority.id(path)
            guard id == nil || id == own else {
                throw TestSourceError(
                    message: "the test source is \(own), not the identity asked for")
            }
            return try authority.jwtSVID(path, audience: audience)
        }
    }

    /// Takes the identity away: from now on there are no tokens.
    public func withdraw() { self.state.withLockedValue { $0.issue = nil } }

    /// Puts what was taken back in the place of what was known, such as
    /// `try authority.trustDomainRevocations()`; live connections of helpers that know this source are closed at once.
    public func set(revocations: [TrustDomainRevocations]) { self.revocations.set(revocations) }

    /// What was set last, or nil.
    public func revocations(for trustDomain: TrustDomain) -> TrustDomainRevocations? {
        self.revocations.revocations(for: trustDomain)
    }

    /// Tells of changes, as long as the result is held.
    public func observeRevocations(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.revocations.observeRevocations(onChange) }

    /// Puts what partners are trusted with in the place of what was known; trust domains that are left out have no limits.
    public func set(limits: [TrustDomainLimits]) { self.limits.set(limits) }

    /// What was set last, or nil.
    public func partnerLimits(for trustDomain: TrustDomain) -> TrustDomainLimits? {
        self.limits.partnerLimits(for: trustDomain)
    }

    /// Tells of changes to limits, as long as the result is held.
    public func observePartnerLimits(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.limits.observePartnerLimits(onChange) }

    /// Puts other bundles in the place of the present ones.
    public func set(bundles: [JWTBundle]) {
        self.state.withLockedValue { $0.bundles = JWTBundleSet(bundles) }
    }

    /// How many tokens were asked for.
    public var requestCount: Int { self.state.withLockedValue { $0.requests } }

    /// A new token.
    ///
    /// - Throws: ``TestSourceError`` when there is no identity, or what the closure throws.
    public func jwtSVID(audience: [String], id: SPIFFEID? = nil) throws -> JWTSVID {
        let issue = self.state.withLockedValue { state in
            state.requests += 1
            return state.issue
        }
        guard let issue else { throw TestSourceError(message: "the test source has no JWT-SVID") }
        return try issue(audience, id)
    }

    /// The bundle that was set last, or nil.
    public func jwtBundle(for trustDomain: TrustDomain) -> JWTBundle? {
        self.state.withLockedValue { $0.bundles.jwtBundle(for: trustDomain) }
    }
}
