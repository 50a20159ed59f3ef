package import PluginAPI
package import SPIFFE
package import Transparency
import X509

/// The key that signs the ledger's checkpoints: Ed25519, kept by the key manager.
package enum LedgerKey {
    /// The name under which the key manager has it.
    package static let id = "ledger"

    /// The name of the log and of its key: `<trust domain>/ledger`.
    ///
    /// - Throws: ``TransparencyError`` when the trust domain's name is too long for one.
    package static func name(of trustDomain: TrustDomain) throws(TransparencyError) -> NoteKeyName {
        try NoteKeyName("\(trustDomain.name)/ledger")
    }

    /// The key, made when there is none.
    ///
    /// - Throws: ``KeyManagerError``; ``ServerError`` `failedPrecondition` when the key of that name is of another type.
    package static func signer(
        trustDomain: TrustDomain, keyManager: any KeyManager
    ) async throws -> NoteSigner {
        let managed: ManagedKey
        if let existing = try await keyManager.key(id: self.id) {
            managed = existing
        } else {
            managed = try await keyManager.generateKey(id: self.id, type: .ed25519)
        }
        guard let publicKey = managed.ed25519PublicKey else {
            throw ServerError(
                .failedPrecondition,
                "key \"\(self.id)\" of the key manager is of type \(managed.type.rawValue); the ledger needs "
                    + "ed25519: restore the key")
        }
        let privateKey = managed.privateKey
        return NoteSigner(
            key: try VerifierKey(
                name: self.name(of: trustDomain), algorithm: .ed25519, publicKey: publicKey)
        ) { message in
            try privateKey.sign(bytes: message, signatureAlgorithm: .ed25519).rawRepresentation
        }
    }
}
