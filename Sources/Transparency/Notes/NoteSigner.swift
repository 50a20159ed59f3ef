import Crypto

/// A private Ed25519 key with a name, for logs and witnesses. The key is at hand or is kept by somebody else who signs
/// with it at once.
package struct NoteSigner: Sendable {
    /// The public half.
    package let key: VerifierKey
    private let makeSignature: @Sendable (_ message: [UInt8]) throws -> [UInt8]

    /// A key that somebody else keeps.
    ///
    /// - Parameters:
    ///   - key: The public half.
    ///   - makeSignature: Signs a message with the private half (RFC 8032, pure Ed25519): 64 bytes.
    package init(
        key: VerifierKey, makeSignature: @escaping @Sendable (_ message: [UInt8]) throws -> [UInt8]
    ) {
        self.key = key
        self.makeSignature = makeSignature
    }

    /// - Parameter seed: The 32 bytes of the private key (RFC 8032).
    /// - Throws: ``TransparencyError`` `malformedKey` for another number of bytes; the message does not have them.
    package init(
        name: NoteKeyName, algorithm: VerifierKey.Algorithm, seed: [UInt8]
    ) throws(TransparencyError) {
        guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed) else {
            throw TransparencyError(
                .malformedKey, "a private Ed25519 key of \(seed.count) bytes; expected 32")
        }
        try self.init(
            key: VerifierKey(
                name: name, algorithm: algorithm, publicKey: Array(key.publicKey.rawRepresentation))
        ) { message in Array(try key.signature(for: message)) }
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
            return try self.makeSignature(message)
        } catch {
            throw TransparencyError(
                .malformedKey, "the key of \(self.key.name) cannot sign: \(error)")
        }
    }
}
