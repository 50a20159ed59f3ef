import Foundation
import PluginAPI
import SPIFFE
import SwiftASN1
import X509

/// An authority of any kind, with its key.
enum SigningAuthority: Sendable {
    case x509(X509Authority)
    case jwt(JWTAuthority)
    case wit(WITAuthority)
}

/// Makes authorities out of keys of the key manager: new ones, and those of the journal again.
struct AuthorityMaker: Sendable {
    let trustDomain: TrustDomain
    let settings: AuthorityManager.Settings
    let keyManager: any KeyManager

    /// Makes a new key in the slot, replacing one that was there, and an authority that signs with it.
    ///
    /// - Parameter now: Unix seconds.
    func make(
        _ kind: JournalEntry.Kind, slot: String, at now: Int64
    ) async throws -> (entry: JournalEntry, authority: SigningAuthority) {
        let key = try await self.keyManager.generateKey(
            id: JournalEntry.keyID(kind, slot: slot), type: self.settings.keyType(kind))
        let notAfter = now + self.settings.authorityTTL.components.seconds
        let id: String
        let der: [UInt8]
        switch kind {
        case .x509:
            let certificate = try X509Builder.selfSignedAuthority(
                trustDomain: self.trustDomain, subject: self.settings.subject, key: key.privateKey,
                algorithm: key.type.signatureAlgorithm, notBefore: now - 10, notAfter: notAfter,
                serial: SerialNumbers.random())
            id = hex(SubjectKeyIdentifier(hash: certificate.publicKey).keyIdentifier)
            var serializer = DER.Serializer()
            try serializer.serialize(certificate)
            der = serializer.serializedBytes
        case .jwt, .wit:
            id = Self.randomKeyID()
            der = key.publicKeyDER
        }
        let entry = JournalEntry(
            kind: kind, slot: slot, authorityID: id, status: .prepared, issuedAt: now,
            notAfter: notAfter, der: der)
        guard let authority = try self.authority(entry, key: key) else {
            throw ServerError(.internal, "new \(kind.title) authority does not fit its key")
        }
        return (entry, authority)
    }

    /// The authority of a journal entry.
    ///
    /// - Returns: nil when its key is not in the key manager, or is another one.
    func restore(_ entry: JournalEntry) async throws -> SigningAuthority? {
        guard let key = try await self.keyManager.key(id: entry.keyID) else { return nil }
        return try self.authority(entry, key: key)
    }

    /// - Returns: nil when the entry is not of that key.
    private func authority(
        _ entry: JournalEntry, key: ManagedKey
    ) throws -> SigningAuthority? {
        switch entry.kind {
        case .x509:
            guard let certificate = try? Certificate(derEncoded: entry.der),
                certificate.publicKey == key.privateKey.publicKey
            else { return nil }
            let identifier = SubjectKeyIdentifier(hash: certificate.publicKey).keyIdentifier
            let id = hex(identifier)
            return .x509(
                X509Authority(
                    id: id, certificate: certificate, der: entry.der, key: key,
                    subjectKeyIdentifier: identifier,
                    signatureAlgorithm: key.type.signatureAlgorithm,
                    notAfter: Int64(certificate.notValidAfter.timeIntervalSince1970),
                    crlDistributionPoint: self.settings.crlDistributionURL.map {
                        $0 + "/" + id + ".crl"
                    }))
        case .jwt:
            guard key.publicKeyDER == entry.der else { return nil }
            return .jwt(
                JWTAuthority(
                    id: entry.authorityID,
                    signer: try JWSSigner(privateKey: key.privateKey, keyID: entry.authorityID),
                    notAfter: entry.notAfter))
        case .wit:
            guard key.publicKeyDER == entry.der else { return nil }
            return .wit(
                WITAuthority(
                    id: entry.authorityID,
                    signer: try JWSSigner(
                        privateKey: key.privateKey, keyID: entry.authorityID, type: "wit+jwt"),
                    notAfter: entry.notAfter))
        }
    }

    private static func randomKeyID() -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<32).map { _ in
            alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
