package import Foundation
import SwiftASN1
public import X509

/// Checks that a chain of certificates is an X509-SVID that its own trust domain vouches for.
///
/// A peer is who its leaf says only if the leaf keeps all rules of X509-SVID §5 and a path that keeps
/// those of RFC 5280 §6 leads to an authority in the bundle of *the leaf's* trust domain. Other bundles
/// are never looked at. Who the peer may be is a question for an ``Authorizer``.
///
/// Each certificate of the path is also held against the newest CRL of its issuer that is known, by a ``RevocationPolicy``,
/// and the SPIFFE ID against what its trust domain is trusted with, see ``TrustDomainLimits``.
public struct X509SVIDVerifier: Sendable {
    /// The most certificates that a chain may have.
    package static let maximumCertificates = 10
    /// The most bytes that a chain may have.
    package static let maximumBytes = 64 * 1024

    private let bundles: any X509BundleSource
    private let now: @Sendable () -> Date
    /// Nil when nothing is to be checked, or nobody knows.
    private let revocation: RevocationChecker?
    /// Nil when nobody knows.
    private let limits: PartnerLimitChecker?
    /// For those who keep connections of verified peers; nil when they are not to be closed, or nobody knows.
    package let recheck: PeerRecheck?

    /// - Parameters:
    ///   - bundles: Asked at each verification, so that changed bundles count at once.
    ///   - revocation: What is done about SVIDs that were taken back.
    ///   - limits: What partners are trusted with; nil takes the source of the bundles, if it knows.
    public init(
        bundles: any X509BundleSource, revocation: RevocationPolicy = .standard,
        limits: (any PartnerLimitSource)? = nil
    ) {
        self.init(bundles: bundles, revocation: revocation, limits: limits, now: { Date() })
    }

    /// - Parameter now: The time to verify at.
    package init(
        bundles: any X509BundleSource, revocation: RevocationPolicy = .standard,
        limits: (any PartnerLimitSource)? = nil, now: @escaping @Sendable () -> Date
    ) {
        self.bundles = bundles
        self.revocation = RevocationChecker(revocation, bundles: bundles)
        self.limits = PartnerLimitChecker(limits, bundles: bundles)
        self.recheck =
            revocation.closesConnections ? PeerRecheck(self.revocation, self.limits) : nil
        self.now = now
    }

    /// Verifies a chain.
    ///
    /// - Parameter chainDER: DER certificates, the leaf first; more may follow in any order.
    /// - Throws: ``X509SVIDError``; `noBundle` and `untrusted` mean that the leaf itself keeps the rules.
    public func verify(chainDER: [[UInt8]]) async throws(X509SVIDError) -> VerifiedX509SVID {
        switch try self.verifyPath(chainDER: chainDER) {
        case .verified(let verified): return verified
        case .namesToCheck(let pending): return try await pending.verified()
        }
    }

    /// What can be said without waiting.
    package enum Verdict: Sendable {
        /// The chain is good.
        case verified(VerifiedX509SVID)
        /// The chain is good if the name constraints on its paths allow it.
        case namesToCheck(NameConstrainedPaths)
    }

    /// Verifies all but name constraints, without suspending; for callers inside a handshake.
    ///
    /// - Throws: ``X509SVIDError`` as ``verify(chainDER:)``.
    package func verifyPath(chainDER: [[UInt8]]) throws(X509SVIDError) -> Verdict {
        try X509SVIDVerifier.checkLimits(chainDER)
        let leaf = try X509SVIDVerifier.parse(chainDER[0])
        let id = try CertificateProfile(leaf, der: chainDER[0]).checkLeaf()
        let now = self.now()
        if now < leaf.notValidBefore {
            throw X509SVIDError(.notYetValid, "X509-SVID of \(id) is not valid yet")
        }
        if now > leaf.notValidAfter {
            throw X509SVIDError(.expired, "X509-SVID of \(id) has expired")
        }
        guard let bundle = self.bundles.x509Bundle(for: id.trustDomain),
            bundle.trustDomain == id.trustDomain
        else {
            throw X509SVIDError(
                .noBundle,
                "X509-SVID of \(id) rejected: there is no X.509 bundle of its trust domain")
        }
        var search = PathSearch(
            id: id, leaf: leaf, bundle: bundle, others: chainDER.dropFirst(), now: now)
        switch try search.run() {
        case .verified(let verified):
            try self.limits?.check(verified)
            try self.revocation?.check(verified, now: now)
            return .verified(verified)
        case .namesToCheck(var pending):
            pending.limits = self.limits
            pending.revocation = self.revocation
            return .namesToCheck(pending)
        }
    }

    static func checkLimits(_ chainDER: [[UInt8]]) throws(X509SVIDError) {
        guard !chainDER.isEmpty else {
            throw X509SVIDError(.noCertificate, "there is no certificate")
        }
        let bytes = chainDER.reduce(0) { $0 + $1.count }
        guard chainDER.count <= self.maximumCertificates, bytes <= self.maximumBytes else {
            throw X509SVIDError(
                .chainTooLong,
                "chain of \(chainDER.count) certificates and \(bytes) bytes; allowed are "
                    + "\(self.maximumCertificates) and \(self.maximumBytes)")
        }
    }

    /// Parses a chain within the limits; never empty.
    static func parse(_ chainDER: [[UInt8]]) throws(X509SVIDError) -> [Certificate] {
        try self.checkLimits(chainDER)
        var chain: [Certificate] = []
        for der in chainDER { chain.append(try self.parse(der)) }
        return chain
    }

    static func parse(_ der: [UInt8]) throws(X509SVIDError) -> Certificate {
        do {
            return try Certificate(derEncoded: der)
        } catch {
            throw X509SVIDError(
                .malformedCertificate,
                "certificate of \(der.count) bytes cannot be read: "
                    + SPIFFEIDError.quoted(String(describing: error)))
        }
    }
}

/// A peer's X509-SVID that has been verified; only ``X509SVIDVerifier`` makes one.
public struct VerifiedX509SVID: Sendable {
    /// Who the peer is.
    public let id: SPIFFEID
    /// The certificate whose key the peer must prove to have.
    public let leaf: Certificate
    /// The path that was found: the leaf first, the authority of the bundle last.
    public let chain: [Certificate]

    /// For tests and for peers whose chain was verified in another way.
    package init(id: SPIFFEID, leaf: Certificate, chain: [Certificate]) {
        self.id = id
        self.leaf = leaf
        self.chain = chain
    }
}
