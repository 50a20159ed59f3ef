import Crypto

/// A private Ed25519 key with a name, for logs and witnesses whose key is at hand. Who keeps keys elsewhere makes
/// a ``NoteSignature`` from the signature.
package struct NoteSigner: Sendable {
    /// The public half.
    package let key: VerifierKey
    private let privateKey: Curve25519.Signing.PrivateKey

    /// - Parameter seed: The 32 bytes of the private key (RFC 8032).
    /// - Throws: ``TransparencyError`` `malformedKey` for another number of bytes; the message does not have them.
    package init(
        name: NoteKeyName, algorithm: VerifierKey.Algorithm, seed: [UInt8]
    ) throws(TransparencyError) {
        guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed) else {
            throw TransparencyError(
                .malformedKey, "a private Ed25519 key of \(seed.count) bytes; expected 32")
        }
        self.privateKey = key
        self.key = try VerifierKey(
            name: name, algorithm: algorithm, publicKey: Array(key.publicKey.rawRepresentation))
    }

    /// Signs the text of a note.
    ///
    /// - Parameter time: POSIX seconds; part of a cosignature and of nothing else.
    /// - Throws: ``TransparencyError`` `malformedKey` when the key cannot sign.
    package func sign(_ text: [UInt8], at time: UInt64 = 0) throws(TransparencyError)
        -> NoteSignature
    {
        switch self.key.algorithm {
        case .ed25519:
            return NoteSignature(by: self.key, signature: try self.signature(over: text))
        case .cosignature:
            let message = Cosignature.message(text: text, time: time)
            let cosignature = Cosignature(time: time, signature: try self.signature(over: message))
            return NoteSignature(by: self.key, signature: cosignature.bytes)
        }
    }

    private func signature(over message: [UInt8]) throws(TransparencyError) -> [UInt8] {
        do {
            return Array(try self.privateKey.signature(for: message))
        } catch {
            throw TransparencyError(.malformedKey, "the key of \(self.key.name) cannot sign")
        }
    }
}
