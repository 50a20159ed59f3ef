/// Text that is equal only when its bytes are.
///
/// Swift's strings are equal when Unicode calls them equivalent; names of keys and logs are compared by
/// bytes everywhere else, and so they must be here.
package struct ExactText: Hashable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
    /// The text.
    package let string: String

    package init(_ string: String) { self.string = string }
    package init(stringLiteral value: String) { self.string = value }

    package static func == (left: ExactText, right: ExactText) -> Bool {
        left.string.utf8.elementsEqual(right.string.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        for byte in self.string.utf8 { hasher.combine(byte) }
        hasher.combine(0xFF as UInt8)
    }

    package var description: String { self.string }
}
