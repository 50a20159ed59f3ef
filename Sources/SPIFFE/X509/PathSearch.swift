import Foundation
import SwiftASN1
@_spi(FixedExpiryValidationTime) import X509

/// Looks for a path from a leaf to an authority, by RFC 5280 §6.
///
/// Depth first, authorities before intermediates, so the shortest path comes first. The number of
/// signature checks is bounded: whoever sends certificates that all issue each other could otherwise
/// have factorially many paths tried.
struct PathSearch {
    private static let maximumSignatureChecks = 32

    private let id: SPIFFEID
    private let leaf: Certificate
    private let anchors: [SigningCertificate]
    private let others: ArraySlice<[UInt8]>
    private let now: Date
    private var checksLeft = PathSearch.maximumSignatureChecks
    /// Parsed when first needed: most chains end at an authority right above the leaf.
    private var intermediates: [SigningCertificate]?
    private var constrained: [NameConstrainedPaths.Path] = []
    /// The most telling reason so far why a path was not one.
    private var refusal: X509SVIDError?

    init(
        id: SPIFFEID, leaf: Certificate, bundle: X509Bundle, others: ArraySlice<[UInt8]>, now: Date
    ) {
        self.id = id
        self.leaf = leaf
        self.anchors = bundle.anchors
        self.others = others
        self.now = now
    }

    mutating func run() throws(X509SVIDError) -> X509SVIDVerifier.Verdict {
        if let chain = try self.search(above: self.leaf, path: [], signersBelow: 0) {
            return .verified(VerifiedX509SVID(id: self.id, leaf: self.leaf, chain: chain))
        }
        if !self.constrained.isEmpty {
            return .namesToCheck(
                NameConstrainedPaths(
                    id: self.id, leaf: self.leaf, paths: self.constrained, now: self.now))
        }
        if let refusal = self.refusal {
            throw X509SVIDError(
                refusal.code, "X509-SVID of \(self.id) rejected: \(refusal.message)")
        }
        throw X509SVIDError(
            .untrusted,
            "X509-SVID of \(self.id) rejected: none of the \(self.anchors.count) X.509 authorities of "
                + "\(self.id.trustDomain) issued it or what is above it")
    }

    /// Finds a path upwards.
    ///
    /// - Parameters:
    ///   - tip: The certificate whose issuer is looked for.
    ///   - path: The intermediates up to the tip, the lowest first.
    ///   - signersBelow: How many of them count against a path length.
    private mutating func search(
        above tip: Certificate, path: [SigningCertificate], signersBelow: Int
    ) throws(X509SVIDError) -> [Certificate]? {
        let issuer = tip.issuer
        for anchor in PathSearch.candidates(self.anchors, issuing: tip, named: issuer) {
            guard try self.issued(anchor, tip, path, signersBelow) else { continue }
            if anchor.hasNameConstraints || path.contains(where: \.hasNameConstraints) {
                self.constrained.append(
                    .init(intermediates: path.map(\.certificate), root: anchor.certificate))
                continue
            }
            return [self.leaf] + path.map(\.certificate) + [anchor.certificate]
        }
        guard !self.others.isEmpty else { return nil }
        for signer in PathSearch.candidates(self.parsedIntermediates(), issuing: tip, named: issuer)
        {
            guard try self.issued(signer, tip, path, signersBelow) else { continue }
            let chain = try self.search(
                above: signer.certificate, path: path + [signer],
                signersBelow: signersBelow + (signer.isSelfIssued ? 0 : 1))
            if let chain { return chain }
        }
        return nil
    }

    /// Whether the signer may issue, is not on the path yet, and has signed the tip.
    private mutating func issued(
        _ signer: SigningCertificate, _ tip: Certificate, _ path: [SigningCertificate],
        _ signersBelow: Int
    ) throws(X509SVIDError) -> Bool {
        if path.contains(where: { $0.isSameEntity(as: signer.certificate) }) { return false }
        guard self.checksLeft > 0 else {
            throw X509SVIDError(
                .chainTooLong,
                "X509-SVID of \(self.id) rejected: its certificates combine in too many ways")
        }
        self.checksLeft -= 1
        guard signer.certificate.publicKey.isValidSignature(tip.signature, for: tip) else {
            return false
        }
        // Only now: why a stranger of the same name may not sign says nothing about this chain.
        do throws(X509SVIDError) {
            try signer.check(at: self.now, signersBelow: signersBelow)
            return true
        } catch {
            self.refusal = error
            return false
        }
    }

    /// The certificates with the name that the tip's issuer has, those with the key identifier that it
    /// names first. Others stay: identifiers are a help in choosing, not a rule (RFC 5280 §4.2.1.1).
    private static func candidates(
        _ signers: [SigningCertificate], issuing tip: Certificate, named issuer: DistinguishedName
    ) -> [SigningCertificate] {
        let named = signers.filter { $0.subject == issuer }
        guard named.count > 1,
            let wanted = (try? tip.extensions.authorityKeyIdentifier)?.keyIdentifier
        else { return named }
        return named.filter { $0.keyIdentifier == wanted }
            + named.filter { $0.keyIdentifier != wanted }
    }

    /// The certificates beside the leaf. One that cannot be read or is signed with SHA-1 is left out: it
    /// need not be on the path.
    private mutating func parsedIntermediates() -> [SigningCertificate] {
        if let intermediates = self.intermediates { return intermediates }
        var parsed: [SigningCertificate] = []
        for der in self.others {
            do throws(X509SVIDError) {
                let certificate = try X509SVIDVerifier.parse(der)
                try CertificateProfile.checkSignatureAlgorithm(certificate)
                parsed.append(SigningCertificate(certificate, der: der))
            } catch {
                self.refusal = error
            }
        }
        self.intermediates = parsed
        return parsed
    }
}

/// Paths that are good but for the name constraints on them, which swift-certificates judges.
package struct NameConstrainedPaths: Sendable {
    struct Path: Sendable {
        let intermediates: [Certificate]
        let root: Certificate
    }

    let id: SPIFFEID
    let leaf: Certificate
    let paths: [Path]
    /// The time that the rest of the rules was held against.
    let now: Date
    /// What the path that holds is checked with at the end.
    var limits: PartnerLimitChecker?
    var revocation: RevocationChecker?

    /// Tries the paths in the order in which they were found.
    ///
    /// - Throws: ``X509SVIDError`` `nameConstraints` when none holds; `outsideLimits` or `limitsUnknown`; `revoked` or
    ///   `revocationUnknown`.
    package func verified() async throws(X509SVIDError) -> VerifiedX509SVID {
        var reasons: [String] = []
        for path in self.paths {
            var verifier = Verifier(rootCertificates: CertificateStore([path.root])) {
                RFC5280Policy(fixedExpiryValidationTime: self.now)
                ProfileExtensions()
            }
            switch await verifier.validate(
                leaf: self.leaf, intermediates: CertificateStore(path.intermediates))
            {
            case .validCertificate(let chain):
                let verified = VerifiedX509SVID(
                    id: self.id, leaf: self.leaf, chain: Array(chain))
                try self.limits?.check(verified)
                try self.revocation?.check(verified, now: self.now)
                return verified
            case .couldNotValidate(let failures):
                reasons += failures.map { $0.policyFailureReason.description }
            }
        }
        throw X509SVIDError(
            .nameConstraints,
            "X509-SVID of \(self.id) rejected by name constraints: \(reasons.joined(separator: "; "))"
        )
    }

    /// Tells the verifier which critical extensions ``CertificateProfile`` has dealt with.
    private struct ProfileExtensions: VerifierPolicy {
        var verifyingCriticalExtensions: [ASN1ObjectIdentifier] {
            CertificateProfile.handledExtensions
        }

        func chainMeetsPolicyRequirements(chain: UnverifiedCertificateChain)
            -> PolicyEvaluationResult
        {
            .meetsPolicy
        }
    }
}
