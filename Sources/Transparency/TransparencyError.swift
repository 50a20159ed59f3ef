/// Why a note, key, checkpoint, tile, proof, leaf or journal was refused.
///
/// `code` is stable and meant for comparison; `message` is for people. A fault in a whole log, with the leaf or
/// tile that is to blame, is a ``LogFault``.
package struct TransparencyError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was wrong.
    package enum Code: String, Hashable, Sendable {
        /// Larger, or more of something, than is read.
        case tooLarge
        /// Not a signed note.
        case malformedNote
        /// Not a verifier key, or one of an algorithm that is not supported.
        case malformedKey
        /// No signature by a key that the caller trusts.
        case notSigned
        /// A signature that names a trusted key and is not by it.
        case wrongSignature
        /// The text of the note is no checkpoint.
        case malformedCheckpoint
        /// A checkpoint of another log.
        case wrongOrigin
        /// Not the path of a tile.
        case malformedPath
        /// A tile or bundle of entries that does not have the form or the width it must have.
        case malformedTile
        /// Not a proof.
        case malformedProof
        /// A well-formed proof that proves something else.
        case wrongProof
        /// Fewer cosignatures of known witnesses than asked for.
        case noQuorum
        /// JSON that has no canonical form here, or is not in it.
        case notCanonical
        /// Not a leaf of the ledger's schema.
        case malformedLeaf
        /// A witness request that is not in the protocol's form.
        case malformedRequest
        /// The journal is not one, or was changed.
        case malformedJournal
        /// What is on disk does not belong together.
        case inconsistentLedger
        /// An index or size that the tree does not have.
        case outOfRange
    }

    /// What was wrong; compare this.
    package let code: Code
    /// What failed and what would have been accepted, for people.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }

    /// Untrusted text for a message: in quotes, visible, at most 200 bytes.
    package static func quoted(_ text: some Sequence<UInt8>) -> String {
        var shown = "\""
        var count = 0
        for byte in text {
            if count == 200 {
                shown += "…"
                break
            }
            count += 1
            if byte >= 0x20, byte < 0x7f, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
                shown.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                shown += "\\x" + Hex.encode([byte])
            }
        }
        return shown + "\""
    }
}
