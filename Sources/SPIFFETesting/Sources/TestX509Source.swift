import NIOConcurrencyHelpers
public import SPIFFE

/// An X.509 source without Workload API: holds what the test gives it.
///
/// Takes the place of `X509Source` wherever an `X509SVIDSource` or `X509BundleSource` is asked for. What is
/// set counts from the next handshake on, as with a real one.
public final class TestX509Source: X509SVIDSource, X509BundleSource, RevocationSource,
    PartnerLimitSource, Sendable
{
    private struct State {
        var svid: X509SVID?
        var bundles: X509BundleSet
    }

    private let state: NIOLockedValueBox<State>
    private let revocations = TestRevocationState()
    private let limits = TestPartnerLimitState()

    /// - Parameters:
    ///   - svid: Nil is a program without identity.
    ///   - bundles: Whom it believes.
    public init(svid: X509SVID?, bundles: [X509Bundle]) {
        self.state = NIOLockedValueBox(State(svid: svid, bundles: X509BundleSet(bundles)))
    }

    /// A program with a new X509-SVID of the authority.
    ///
    /// - Parameters:
    ///   - authority: Who issues its SVIDs.
    ///   - path: The path of its SPIFFE ID.
    ///   - federated: Whom it believes beside its own trust domain.
    public convenience init(
        _ authority: TestAuthority, _ path: String, federatedWith federated: [TestAuthority] = []
    ) throws {
        self.init(
            svid: try authority.x509SVID(path),
            bundles: try ([authority] + federated).map { try $0.x509Bundle })
    }

    /// Puts another X509-SVID in the place of the present one; nil withdraws it.
    public func set(svid: X509SVID?) { self.state.withLockedValue { $0.svid = svid } }

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

    /// Puts other bundles in the place of the present ones; trust domains that are left out are trusted no more.
    public func set(bundles: [X509Bundle]) {
        self.state.withLockedValue { $0.bundles = X509BundleSet(bundles) }
    }

    /// The X509-SVID that was set last.
    ///
    /// - Throws: ``TestSourceError`` when there is none.
    public func x509SVID() throws(TestSourceError) -> X509SVID {
        guard let svid = self.state.withLockedValue({ $0.svid }) else {
            throw TestSourceError(message: "the test source has no X509-SVID")
        }
        return svid
    }

    /// The bundle that was set last, or nil.
    public func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        self.state.withLockedValue { $0.bundles.x509Bundle(for: trustDomain) }
    }
}

/// A test source that has nothing to give.
public struct TestSourceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was asked for.
    public let message: String
    public var description: String { self.message }
}
