import Crypto
import SPIFFE

/// A public key that verifies signatures of notes, with its name: what others call a vkey (C2SP signed-note,
/// "Verifier keys").
package struct VerifierKey: Hashable, Sendable, CustomStringConvertible {
    /// What the key's signatures mean; part of the key's ID.
    package enum Algorithm: UInt8, Sendable {
        /// Ed25519 over the note's text.
        case ed25519 = 0x01
        /// Ed25519 of a witness over the checkpoint and the time (C2SP tlog-cosignature).
        case cosignature = 0x04
    }

    /// Who signs.
    package let name: NoteKeyName
    /// What the signatures mean.
    package let algorithm: Algorithm
    /// The 32 bytes of the public key (RFC 8032).
    package let publicKey: [UInt8]
    /// The first four bytes, big-endian, of the SHA-256 of name, newline, algorithm and key.
    package let keyID: UInt32

    /// - Throws: ``TransparencyError`` `malformedKey` unless the key has 32 bytes.
    package init(
        name: NoteKeyName, algorithm: Algorithm, publicKey: [UInt8]
    ) throws(TransparencyError) {
        guard publicKey.count == 32,
            (try? Curve25519.Signing.PublicKey(rawRepresentation: publicKey)) != nil
        else {
            throw TransparencyError(
                .malformedKey, "an Ed25519 key of \(publicKey.count) bytes; expected 32")
        }
        self.name = name
        self.algorithm = algorithm
        self.publicKey = publicKey
        var hasher = SHA256()
        hasher.update(data: Array(name.string.utf8))
        hasher.update(data: [UInt8(ascii: "\n"), algorithm.rawValue])
        hasher.update(data: publicKey)
        self.keyID = hasher.finalize().prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Reads `<name>+<key ID in hex>+<base64 of algorithm and key>`.
    ///
    /// - Throws: ``TransparencyError`` `malformedKey`: another form, an unknown algorithm, or a key ID that is not
    ///   the key's.
    package init(parsing text: String) throws(TransparencyError) {
        let parts = text.utf8.split(
            separator: UInt8(ascii: "+"), maxSplits: 2, omittingEmptySubsequences: false)
        guard text.utf8.count <= 512, parts.count == 3, let name = String(parts[0]),
            let digits = String(parts[1]), digits.utf8.count == 8, let keyID = Hex.decode(digits),
            let base64 = String(parts[2]), let material = try? Base64.decode(base64),
            let first = material.first
        else {
            throw TransparencyError(
                .malformedKey,
                "\(TransparencyError.quoted(text.utf8)) is no verifier key; expected "
                    + "<name>+<8 hexadecimal digits>+<base64>")
        }
        guard let algorithm = Algorithm(rawValue: first) else {
            throw TransparencyError(
                .malformedKey,
                "verifier key has algorithm \(first); known are 1 (Ed25519) and 4 (cosignature)")
        }
        try self.init(
            name: NoteKeyName(name), algorithm: algorithm, publicKey: Array(material.dropFirst()))
        guard keyID.reduce(0 as UInt32, { $0 << 8 | UInt32($1) }) == self.keyID else {
            throw TransparencyError(
                .malformedKey,
                "verifier key of \(TransparencyError.quoted(name.utf8)) says that its ID is \(digits), and "
                    + "it is \(self.keyIDText)")
        }
    }

    /// Eight lower-case hexadecimal digits.
    package var keyIDText: String {
        let digits = String(self.keyID, radix: 16)
        return String(repeating: "0", count: 8 - digits.utf8.count) + digits
    }

    /// The key as text; ``init(parsing:)`` reads it.
    package var description: String {
        "\(self.name)+\(self.keyIDText)+"
            + Base64.encode([self.algorithm.rawValue] + self.publicKey)
    }

    /// Whether the key made this signature over the text of a note.
    ///
    /// - Parameter signature: What follows the key ID in a signature line: 64 bytes, and for a cosignature eight
    ///   bytes with the time before them.
    package func verifies(_ signature: [UInt8], over text: [UInt8]) -> Bool {
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: self.publicKey) else {
            return false
        }
        switch self.algorithm {
        case .ed25519:
            return signature.count == 64 && key.isValidSignature(signature, for: text)
        case .cosignature:
            guard let cosignature = Cosignature(parsing: signature) else { return false }
            return key.isValidSignature(
                cosignature.signature,
                for: Cosignature.message(text: text, time: cosignature.time))
        }
    }
}
