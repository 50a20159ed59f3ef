import SwiftASN1
package import X509

/// A private key that a key manager holds, usable for signing.
package struct ManagedKey: Sendable {
    /// The name the key is kept under, such as `x509-CA-A`.
    package let id: String
    package let type: KeyType
    /// Signs; the key material itself may live elsewhere.
    package let privateKey: Certificate.PrivateKey
    /// SubjectPublicKeyInfo, DER.
    package let publicKeyDER: [UInt8]

    /// - Throws: when the public key cannot be serialised.
    package init(id: String, type: KeyType, privateKey: Certificate.PrivateKey) throws {
        self.id = id
        self.type = type
        self.privateKey = privateKey
        var serializer = DER.Serializer()
        try serializer.serialize(privateKey.publicKey)
        self.publicKeyDER = serializer.serializedBytes
    }

    /// The 32 bytes of an Ed25519 public key (RFC 8410 §4); nil for keys of other types.
    package var ed25519PublicKey: [UInt8]? {
        let head: [UInt8] = [
            0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00,
        ]
        guard self.publicKeyDER.count == head.count + 32, self.publicKeyDER.starts(with: head)
        else { return nil }
        return Array(self.publicKeyDER[head.count...])
    }
}

/// Makes and holds private keys.
///
/// A key is named; generating under a name that is taken replaces the key. When `generateKey` returns, the
/// key is as durable as the manager makes keys at all; when it throws, the earlier key of that name is
/// still there. A deleted key does not come back after a restart. All methods may be called at the same time.
package protocol KeyManager: Sendable {
    /// - Throws: ``KeyManagerError``.
    func generateKey(id: String, type: KeyType) async throws -> ManagedKey
    /// The key of that name, or nil.
    func key(id: String) async throws -> ManagedKey?
    /// The names of all keys, in no order.
    func keyIDs() async throws -> [String]
    /// Deletes the key of that name; none is no error.
    ///
    /// - Throws: ``KeyManagerError`` `notStored`; the key is still there.
    func deleteKey(id: String) async throws
}

/// Why a key could not be made, read or kept.
package struct KeyManagerError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable, Hashable {
        /// The file with the keys cannot be read, or is not in the expected form.
        case unreadable
        /// The keys could not be written; nothing has changed.
        case notStored
        /// The key could not be generated.
        case generation
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
