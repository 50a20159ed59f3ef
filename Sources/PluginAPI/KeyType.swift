/// The kinds of private keys that authorities and agents use.
package enum KeyType: String, Sendable, CaseIterable {
    case ecP256 = "ec-p256"
    case ecP384 = "ec-p384"
    case rsa2048 = "rsa-2048"
    case rsa4096 = "rsa-4096"
    /// For the ledger's checkpoints; authorities and SVIDs do not have such keys.
    case ed25519 = "ed25519"
}
