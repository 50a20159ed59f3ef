import Foundation
import SwiftASN1
package import X509

extension TrustBundle {
    /// Whether the authority of a journal entry is in the bundle.
    func contains(_ entry: JournalEntry) -> Bool {
        switch entry.kind {
        case .x509: self.x509Authorities.contains { $0.der == entry.der }
        case .jwt: self.jwtAuthorities.contains { $0.keyID == entry.authorityID }
        case .wit: self.witAuthorities.contains { $0.keyID == entry.authorityID }
        }
    }

    /// Adds the authority of a journal entry, unless it is there.
    mutating func add(_ entry: JournalEntry) {
        guard !self.contains(entry) else { return }
        switch entry.kind {
        case .x509: self.x509Authorities.append(.init(der: entry.der))
        case .jwt:
            self.jwtAuthorities.append(
                .init(
                    keyID: entry.authorityID, publicKeyDER: entry.der, expiresAt: entry.notAfter))
        case .wit:
            self.witAuthorities.append(
                .init(
                    keyID: entry.authorityID, publicKeyDER: entry.der, expiresAt: entry.notAfter))
        }
    }

    /// The authorities of that kind, as journal entries without a slot.
    func authorities(_ kind: JournalEntry.Kind) -> [(entry: JournalEntry, isTainted: Bool)] {
        func entry(_ id: String, _ end: Int64, _ der: [UInt8]) -> JournalEntry {
            JournalEntry(
                kind: kind, slot: "", authorityID: id, status: .old, issuedAt: 0, notAfter: end,
                der: der)
        }
        switch kind {
        case .x509:
            return self.x509Authorities.compactMap { authority in
                guard let certificate = try? Certificate(derEncoded: authority.der) else {
                    return nil
                }
                let end = Int64(certificate.notValidAfter.timeIntervalSince1970)
                return (
                    entry(certificate.subjectKeyID, end, authority.der), authority.tainted
                )
            }
        case .jwt:
            return self.jwtAuthorities.map {
                (entry($0.keyID, $0.expiresAt, $0.publicKeyDER), $0.tainted)
            }
        case .wit:
            return self.witAuthorities.map {
                (entry($0.keyID, $0.expiresAt, $0.publicKeyDER), $0.tainted)
            }
        }
    }

    /// Marks the authority with that ID as one that nothing may rest on any more.
    mutating func taint(_ kind: JournalEntry.Kind, _ authorityID: String) {
        switch kind {
        case .x509:
            for index in self.x509Authorities.indices
            where self.x509Authorities[index].subjectKeyID == authorityID {
                self.x509Authorities[index].tainted = true
            }
        case .jwt:
            for index in self.jwtAuthorities.indices
            where self.jwtAuthorities[index].keyID == authorityID {
                self.jwtAuthorities[index].tainted = true
            }
        case .wit:
            for index in self.witAuthorities.indices
            where self.witAuthorities[index].keyID == authorityID {
                self.witAuthorities[index].tainted = true
            }
        }
    }

    /// Takes the authority with that ID out.
    mutating func remove(_ kind: JournalEntry.Kind, _ authorityID: String) {
        switch kind {
        case .x509: self.x509Authorities.removeAll { $0.subjectKeyID == authorityID }
        case .jwt: self.jwtAuthorities.removeAll { $0.keyID == authorityID }
        case .wit: self.witAuthorities.removeAll { $0.keyID == authorityID }
        }
    }
}

extension TrustBundle.X509AuthorityCertificate {
    /// Lower-case hex; nil when the certificate cannot be parsed.
    var subjectKeyID: String? { (try? Certificate(derEncoded: self.der))?.subjectKeyID }
}

extension Certificate {
    /// The subject key ID in lower-case hex, made from the key where the certificate does not have one.
    var subjectKeyID: String {
        let named = try? self.extensions.subjectKeyIdentifier
        return hex(named?.keyIdentifier ?? SubjectKeyIdentifier(hash: self.publicKey).keyIdentifier)
    }

    /// The key ID of the signer in lower-case hex; nil when the certificate does not name it.
    package var authorityKeyID: String? {
        let named = try? self.extensions.authorityKeyIdentifier
        return (named?.keyIdentifier).map { hex($0) }
    }
}
