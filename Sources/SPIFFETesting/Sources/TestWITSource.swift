import NIOConcurrencyHelpers
public import SPIFFE

/// A WIT source without Workload API: holds a WIT-SVID and the bundles that the test gives it. Incubating.
///
/// Takes the place of `WITSource` wherever a `WITSVIDSource` or `WITBundleSource` is asked for.
public final class TestWITSource: WITSVIDSource, WITBundleSource, RevocationSource,
    PartnerLimitSource, Sendable
{
    private struct State {
        var svid: WITSVID?
        var bundles: WITBundleSet
        var requests = 0
    }

    private let state: NIOLockedValueBox<State>
    private let revocations = TestRevocationState()
    private let limits = TestPartnerLimitState()

    /// - Parameters:
    ///   - svid: Who the program is; nil is one without identity.
    ///   - bundles: Whom it believes.
    public init(svid: WITSVID?, bundles: [WITBundle]) {
        self.state = NIOLockedValueBox(State(svid: svid, bundles: WITBundleSet(bundles)))
    }

    /// A program with this identity.
    ///
    /// - Parameters:
    ///   - authority: Who issues its WIT-SVID.
    ///   - path: The path of its SPIFFE ID.
    ///   - federated: Whom it believes beside its own trust domain.
    /// - Throws: `SPIFFEIDError` for the path.
    public convenience init(
        _ authority: TestAuthority, _ path: String, federatedWith federated: [TestAuthority] = []
    ) throws {
        self.init(
            svid: try authority.witSVID(path), bundles: ([authority] + federated).map(\.witBundle))
    }

    /// Puts another WIT-SVID in the place of the present one; nil takes it away.
    public func set(svid: WITSVID?) { self.state.withLockedValue { $0.svid = svid } }

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
    public func set(bundles: [WITBundle]) {
        self.state.withLockedValue { $0.bundles = WITBundleSet(bundles) }
    }

    /// How often a WIT-SVID was asked for.
    public var requestCount: Int { self.state.withLockedValue { $0.requests } }

    /// The WIT-SVID that was set last.
    ///
    /// - Throws: ``TestSourceError`` when there is none, or not of the identity asked for.
    public func witSVID(id: SPIFFEID? = nil) throws -> WITSVID {
        let svid = self.state.withLockedValue { state in
            state.requests += 1
            return state.svid
        }
        guard let svid else { throw TestSourceError(message: "the test source has no WIT-SVID") }
        guard id == nil || id == svid.id else {
            throw TestSourceError(
                message: "the test source is \(svid.id), not the identity asked for")
        }
        return svid
    }

    /// The bundle that was set last, or nil.
    public func witBundle(for trustDomain: TrustDomain) -> WITBundle? {
        self.state.withLockedValue { $0.bundles.witBundle(for: trustDomain) }
    }
}
