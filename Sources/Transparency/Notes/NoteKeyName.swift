/// The name of a key that signs notes: not empty, without Unicode spaces, control characters and `+`
/// (C2SP signed-note, "Format").
package struct NoteKeyName: Hashable, Sendable, CustomStringConvertible {
    /// How long a name may be, in bytes.
    package static let maximumBytes = 255

    /// The name; equal only when its bytes are.
    package let text: ExactText

    /// - Throws: ``TransparencyError`` `malformedKey` that names the rule.
    package init(_ name: String) throws(TransparencyError) {
        guard !name.isEmpty, name.utf8.count <= Self.maximumBytes,
            name.unicodeScalars.allSatisfy({
                !$0.properties.isWhitespace && $0 != "+" && $0.value >= 0x20
            })
        else {
            throw TransparencyError(
                .malformedKey,
                "key name \(TransparencyError.quoted(name.utf8)): expected 1 to \(Self.maximumBytes) bytes "
                    + "without spaces, control characters and \"+\"")
        }
        self.text = ExactText(name)
    }

    /// The name as a string.
    package var string: String { self.text.string }

    package var description: String { self.string }
}
