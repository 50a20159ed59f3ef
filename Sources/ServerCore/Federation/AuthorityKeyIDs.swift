import Crypto
import NIOConcurrencyHelpers
package import SPIFFE
import SwiftASN1
package import X509

/// Which trust domain's X.509 authority has which subject key ID: an index of all bundles, without I/O.
///
/// Verifiers find an authority's CRL by name and key ID before they look at its signature. So no trust domain may have an
/// authority with the key ID of another one's and another key: a CRL of the one would keep verifiers from finding that of
/// the other. Names are left out of account: verifiers compare them in more ways than one, and all authorities of SPIRE may
/// have the same one.
///
/// The same key in two bundles is no such case, as with a root that two partners share: only its holder signs lists.
package struct AuthorityKeyIDs: Sendable {
    private struct Holder {
        let trustDomain: TrustDomain
        /// SubjectPublicKeyInfo, DER.
        let publicKey: [UInt8]
        let isDerived: Bool
    }

    /// The server's trust domain.
    private let own: TrustDomain
    private var holders: [[UInt8]: [Holder]] = [:]
    private var known: [TrustDomain: [TrustBundle.X509AuthorityCertificate]] = [:]

    /// Knows no bundle.
    ///
    /// - Parameter own: The server's trust domain.
    package init(own: TrustDomain) { self.own = own }

    /// Takes the place of what was known; bundles that are the same as before cost next to nothing.
    package mutating func update(_ bundles: some Collection<TrustBundle>) {
        var gone = Set(self.known.keys)
        for bundle in bundles {
            gone.remove(bundle.trustDomain)
            let before = self.known[bundle.trustDomain]
            if before == bundle.x509Authorities { continue }
            self.remove(bundle.trustDomain, before ?? [])
            self.known[bundle.trustDomain] = bundle.x509Authorities
            for authority in bundle.x509Authorities {
                guard let (keyID, key) = Self.read(authority.der) else { continue }
                let holder = Holder(
                    trustDomain: bundle.trustDomain, publicKey: Self.der(key),
                    isDerived: Self.isDerived(keyID, from: key))
                self.holders[keyID, default: []].append(holder)
            }
        }
        for trustDomain in gone {
            self.remove(trustDomain, self.known.removeValue(forKey: trustDomain) ?? [])
        }
    }

    private mutating func remove(
        _ trustDomain: TrustDomain, _ authorities: [TrustBundle.X509AuthorityCertificate]
    ) {
        for authority in authorities {
            guard let (keyID, _) = Self.read(authority.der) else { continue }
            self.holders[keyID]?.removeAll { $0.trustDomain == trustDomain }
            if self.holders[keyID]?.isEmpty == true { self.holders[keyID] = nil }
        }
    }

    /// The trust domain that has a better claim to the key ID of this authority; nil when there is none.
    ///
    /// Our own comes before all others. Of two others the one whose key ID is a digest of its key has it, because nobody can
    /// find another key for it: a partner who copies a key ID, however early, keeps nobody's authority out. Where that says
    /// nothing, neither has a claim against the other.
    ///
    /// - Parameter trustDomain: The authority's.
    package func rival(of authority: Certificate, of trustDomain: TrustDomain) -> TrustDomain? {
        guard let keyID = Self.keyID(authority) else { return nil }
        let others = (self.holders[keyID] ?? []).filter { $0.trustDomain != trustDomain }
        if others.isEmpty { return nil }
        let key = Self.der(authority.publicKey)
        let rivals = others.filter { $0.publicKey != key }
        if rivals.contains(where: { $0.trustDomain == self.own }) { return self.own }
        if Self.isDerived(keyID, from: authority.publicKey) {
            return rivals.first { $0.isDerived }?.trustDomain
        }
        return rivals.min { $0.trustDomain < $1.trustDomain }?.trustDomain
    }

    /// The trust domain because of which this authority must not come into a bundle; nil when it may.
    ///
    /// As ``rival(of:of:)``, but first come, first served where neither has a better claim: what is stored stays.
    package func obstacle(
        to authority: Certificate, of trustDomain: TrustDomain
    ) -> TrustDomain? {
        guard let rival = self.rival(of: authority, of: trustDomain) else { return nil }
        guard rival != self.own, let keyID = Self.keyID(authority), let all = self.holders[keyID]
        else {
            return rival
        }
        let key = Self.der(authority.publicKey)
        let isStored = all.contains { $0.trustDomain == trustDomain && $0.publicKey == key }
        let isCopied = all.contains {
            $0.trustDomain != trustDomain && $0.publicKey != key && $0.isDerived
        }
        return isStored && !isCopied ? nil : rival
    }

    // MARK: Keys

    private static func read(_ der: [UInt8]) -> (keyID: [UInt8], key: Certificate.PublicKey)? {
        guard let certificate = try? Certificate(derEncoded: der),
            let keyID = self.keyID(certificate)
        else { return nil }
        return (keyID, certificate.publicKey)
    }

    private static func keyID(_ certificate: Certificate) -> [UInt8]? {
        (try? certificate.extensions.subjectKeyIdentifier).map { Array($0.keyIdentifier) }
    }

    /// SubjectPublicKeyInfo.
    static func der(_ key: Certificate.PublicKey) -> [UInt8] {
        var serializer = DER.Serializer()
        guard (try? serializer.serialize(key)) != nil else {
            return Array(key.subjectPublicKeyInfoBytes)
        }
        return serializer.serializedBytes
    }

    /// Whether a key ID is a digest of the key, of 160 bits at least (RFC 5280 §4.2.1.2, RFC 7093 §2).
    ///
    /// The digest with 60 bits of RFC 5280 is left out: another key for it can be found.
    private static func isDerived(_ keyID: [UInt8], from key: Certificate.PublicKey) -> Bool {
        guard keyID.count >= 20 else { return false }
        return [Array(key.subjectPublicKeyInfoBytes), self.der(key)].contains { bytes in
            Insecure.SHA1.hash(data: bytes).starts(with: keyID)
                || SHA256.hash(data: bytes).starts(with: keyID)
                || SHA384.hash(data: bytes).starts(with: keyID)
                || SHA512.hash(data: bytes).starts(with: keyID)
        }
    }
}

extension Directory {
    /// The key IDs of all bundles that are there now.
    package var authorityKeyIDs: AuthorityKeyIDs {
        self.keyIDs.withLockedValue { keyIDs in
            // Within the lock, so that no older state comes after a newer one.
            keyIDs.update(self.state.withLockedValue { $0.bundles }.values)
            return keyIDs
        }
    }
}
