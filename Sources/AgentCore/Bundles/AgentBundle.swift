package import SPIFFE
import SwiftASN1
import X509

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// A trust domain's authorities as the server sends them, taint included.
package struct AgentBundle: Hashable, Sendable {
    package struct X509Authority: Hashable, Sendable {
        package var der: [UInt8]
        /// Still valid for verifying, but nothing may go on being used that was signed with it.
        package var isTainted: Bool

        package init(der: [UInt8], isTainted: Bool = false) {
            self.der = der
            self.isTainted = isTainted
        }
    }

    package struct JWTAuthority: Hashable, Sendable {
        package var keyID: String
        /// SubjectPublicKeyInfo, DER.
        package var publicKeyDER: [UInt8]
        /// Nil means never.
        package var expiresAt: Date?
        package var isTainted: Bool

        package init(
            keyID: String, publicKeyDER: [UInt8], expiresAt: Date? = nil, isTainted: Bool = false
        ) {
            self.keyID = keyID
            self.publicKeyDER = publicKeyDER
            self.expiresAt = expiresAt
            self.isTainted = isTainted
        }
    }

    /// Members as those of ``JWTAuthority``.
    package struct WITAuthority: Hashable, Sendable {
        package var keyID: String
        package var publicKeyDER: [UInt8]
        package var expiresAt: Date?
        package var isTainted: Bool

        package init(
            keyID: String, publicKeyDER: [UInt8], expiresAt: Date? = nil, isTainted: Bool = false
        ) {
            self.keyID = keyID
            self.publicKeyDER = publicKeyDER
            self.expiresAt = expiresAt
            self.isTainted = isTainted
        }
    }

    package var trustDomain: TrustDomain
    package var x509Authorities: [X509Authority]
    package var jwtAuthorities: [JWTAuthority]
    package var witAuthorities: [WITAuthority]
    package var refreshHint: Duration?
    package var sequenceNumber: UInt64
    /// What it may be used for, as the server says; nil when for everything. Kinds of use are left out of what workloads
    /// are given; paths cannot be taken out of a bundle, so they are held against what is verified.
    package var limits: TrustDomainLimits?

    package init(
        trustDomain: TrustDomain, x509Authorities: [X509Authority],
        jwtAuthorities: [JWTAuthority] = [], witAuthorities: [WITAuthority] = [],
        refreshHint: Duration? = nil, sequenceNumber: UInt64 = 0, limits: TrustDomainLimits? = nil
    ) {
        self.limits = limits
        self.trustDomain = trustDomain
        self.x509Authorities = x509Authorities
        self.jwtAuthorities = jwtAuthorities
        self.witAuthorities = witAuthorities
        self.refreshHint = refreshHint
        self.sequenceNumber = sequenceNumber
    }

    /// Whether X509-SVIDs may be verified with it.
    package var isForX509: Bool { self.limits?.allowsX509 ?? true }
    /// Whether JWT-SVIDs and WIT-SVIDs may be verified with it.
    package var isForJWT: Bool { self.limits?.allowsJWT ?? true }

    /// Subject key IDs of the tainted X.509 authorities.
    var taintedKeyIDs: Set<[UInt8]> {
        Set(self.x509Authorities.lazy.filter(\.isTainted).compactMap(\.subjectKeyID))
    }

    /// Subject key IDs of the X.509 authorities; nil when one of them names none, so that it cannot be told whose
    /// signature an SVID has.
    var keyIDs: Set<[UInt8]>? {
        let ids = self.x509Authorities.map(\.subjectKeyID)
        return ids.contains(nil) ? nil : Set(ids.compactMap { $0 })
    }
}

extension AgentBundle.X509Authority {
    /// As the certificate names it; nil when it does not, or cannot be parsed.
    fileprivate var subjectKeyID: [UInt8]? {
        guard let certificate = try? Certificate(derEncoded: self.der),
            let identifier = try? certificate.extensions.subjectKeyIdentifier
        else { return nil }
        return Array(identifier.keyIdentifier)
    }
}

/// A change of the bundles an agent holds.
package struct BundleChange: Sendable {
    /// True: bundles not among `upserted` go.
    package var isSnapshot: Bool
    package var upserted: [AgentBundle]
    package var removed: [TrustDomain]
    /// What the server wants to hear when the change is applied; 0 when it does not ask.
    package var confirmation: UInt64

    package init(
        isSnapshot: Bool = false, upserted: [AgentBundle] = [], removed: [TrustDomain] = [],
        confirmation: UInt64 = 0
    ) {
        self.confirmation = confirmation
        self.isSnapshot = isSnapshot
        self.upserted = upserted
        self.removed = removed
    }
}

/// The bundles an agent holds, each half with a number that changes when its content does.
package struct BundleSet: Sendable {
    /// What an update did.
    struct Difference: Sendable {
        var x509Changed: Set<TrustDomain> = []
        var jwtChanged: Set<TrustDomain> = []
        var witChanged: Set<TrustDomain> = []
        /// Those that came, that went, and those with other limits.
        var limitsChanged: Set<TrustDomain> = []
        /// Key IDs of authorities of our own trust domain that were tainted just now.
        var newlyTaintedX509: Set<[UInt8]> = []
        /// Key IDs of our own JWT authorities that no token may rest on any more.
        var withdrawnJWT: Set<String> = []
        /// The same of our own WIT authorities.
        var withdrawnWIT: Set<String> = []
        /// All trust domains with a change.
        var changed: Set<TrustDomain> {
            self.x509Changed.union(self.jwtChanged).union(self.witChanged)
                .union(self.limitsChanged)
        }
    }

    struct Held: Sendable {
        var bundle: AgentBundle
        var x509Version: UInt64
        var jwtVersion: UInt64
        var witVersion: UInt64
        var limitsVersion: UInt64
        var taintedKeyIDs: Set<[UInt8]>
        var keyIDs: Set<[UInt8]>?
    }

    package let ownTrustDomain: TrustDomain
    private var held: [TrustDomain: Held] = [:]
    private var nextVersion: UInt64 = 1

    package init(ownTrustDomain: TrustDomain) { self.ownTrustDomain = ownTrustDomain }

    package var own: AgentBundle? { self.held[self.ownTrustDomain]?.bundle }
    package var all: [AgentBundle] { self.held.values.map(\.bundle) }
    package subscript(trustDomain: TrustDomain) -> AgentBundle? { self.held[trustDomain]?.bundle }

    func entry(_ trustDomain: TrustDomain) -> Held? { self.held[trustDomain] }

    /// Tainted X.509 authorities of our own trust domain.
    var ownTaintedKeyIDs: Set<[UInt8]> { self.held[self.ownTrustDomain]?.taintedKeyIDs ?? [] }

    /// Whether our own bundle is known not to have an X.509 authority with that key ID.
    func ownLacks(_ keyID: [UInt8]) -> Bool {
        guard let known = self.held[self.ownTrustDomain]?.keyIDs else { return false }
        return !known.contains(keyID)
    }

    /// Whether tokens signed with that key of our own trust domain are not to be kept.
    func isTaintedJWT(_ keyID: String) -> Bool {
        self.own?.jwtAuthorities.contains { $0.keyID == keyID && $0.isTainted } ?? false
    }

    /// The same for WIT-SVIDs.
    func isTaintedWIT(_ keyID: String) -> Bool {
        self.own?.witAuthorities.contains { $0.keyID == keyID && $0.isTainted } ?? false
    }

    /// Applies a change. Our own bundle is never removed and never replaced by one without X.509
    /// authorities: an agent that forgot its roots could not come back.
    mutating func apply(_ change: BundleChange) -> Difference {
        var difference = Difference()
        var removed = change.removed
        if change.isSnapshot {
            let kept = Set(change.upserted.lazy.map(\.trustDomain))
            removed += self.held.keys.filter { !kept.contains($0) }
        }
        for trustDomain in removed where trustDomain != self.ownTrustDomain {
            if self.held.removeValue(forKey: trustDomain) != nil {
                difference.x509Changed.insert(trustDomain)
                difference.jwtChanged.insert(trustDomain)
                difference.witChanged.insert(trustDomain)
                difference.limitsChanged.insert(trustDomain)
            }
        }
        for bundle in change.upserted {
            let isOwn = bundle.trustDomain == self.ownTrustDomain
            if isOwn, bundle.x509Authorities.isEmpty { continue }
            let old = self.held[bundle.trustDomain]
            let x509Changed =
                old?.bundle.x509Authorities != bundle.x509Authorities
                || old?.bundle.isForX509 != bundle.isForX509
            let jwtUseChanged = old?.bundle.isForJWT != bundle.isForJWT
            let jwtChanged =
                old?.bundle.jwtAuthorities != bundle.jwtAuthorities || jwtUseChanged
            var new = Held(
                bundle: bundle, x509Version: old?.x509Version ?? 0,
                jwtVersion: old?.jwtVersion ?? 0, witVersion: old?.witVersion ?? 0,
                limitsVersion: old?.limitsVersion ?? 0,
                taintedKeyIDs: old?.taintedKeyIDs ?? [], keyIDs: old?.keyIDs)
            if x509Changed {
                new.x509Version = self.nextVersion
                self.nextVersion += 1
                new.taintedKeyIDs = bundle.taintedKeyIDs
                new.keyIDs = bundle.keyIDs
                difference.x509Changed.insert(bundle.trustDomain)
                if isOwn {
                    difference.newlyTaintedX509 = new.taintedKeyIDs.subtracting(
                        old?.taintedKeyIDs ?? [])
                    // One that has left the bundle, tainted while this agent was away, is trusted by nobody.
                    if let before = old?.keyIDs, let now = new.keyIDs {
                        difference.newlyTaintedX509.formUnion(before.subtracting(now))
                    }
                }
            }
            if jwtChanged {
                new.jwtVersion = self.nextVersion
                self.nextVersion += 1
                difference.jwtChanged.insert(bundle.trustDomain)
                if isOwn, let old {
                    let usable = Set(
                        bundle.jwtAuthorities.lazy.filter { !$0.isTainted }.map(\.keyID))
                    difference.withdrawnJWT = Set(
                        old.bundle.jwtAuthorities.lazy.map(\.keyID).filter { !usable.contains($0) })
                }
            }
            if old?.bundle.witAuthorities != bundle.witAuthorities || jwtUseChanged {
                new.witVersion = self.nextVersion
                self.nextVersion += 1
                difference.witChanged.insert(bundle.trustDomain)
                if isOwn, let old {
                    let usable = Set(
                        bundle.witAuthorities.lazy.filter { !$0.isTainted }.map(\.keyID))
                    difference.withdrawnWIT = Set(
                        old.bundle.witAuthorities.lazy.map(\.keyID).filter { !usable.contains($0) })
                }
            }
            if old == nil || old?.bundle.limits != bundle.limits {
                new.limitsVersion = self.nextVersion
                self.nextVersion += 1
                difference.limitsChanged.insert(bundle.trustDomain)
            }
            self.held[bundle.trustDomain] = new
        }
        return difference
    }
}
