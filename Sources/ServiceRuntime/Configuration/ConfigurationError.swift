/// Why a configuration was refused.
///
/// `code` is stable and meant for comparison; `message` is for people and names file, line, key and
/// the accepted form. It never quotes the value of a key that may hold a secret.
package struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of rule was broken.
    package struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case unreadable, tooLarge, tooDeep, syntax, unknownKey, duplicateKey, wrongType
            case invalidValue, missingKey, unsupported, conflict
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The file cannot be read.
        package static let unreadable = Code(.unreadable)
        /// The file is larger than 4 MiB.
        package static let tooLarge = Code(.tooLarge)
        /// Blocks and lists are nested deeper than 64 levels.
        package static let tooDeep = Code(.tooDeep)
        /// The text is neither HCL nor JSON.
        package static let syntax = Code(.syntax)
        /// A key that is not known in its block.
        package static let unknownKey = Code(.unknownKey)
        /// A key that appears twice where it may appear once.
        package static let duplicateKey = Code(.duplicateKey)
        /// A value of another type than the key takes.
        package static let wrongType = Code(.wrongType)
        /// A value of the right type that the key does not accept.
        package static let invalidValue = Code(.invalidValue)
        /// A required key is absent.
        package static let missingKey = Code(.missingKey)
        /// A key or plugin that SPIRE knows and this program does not implement yet.
        package static let unsupported = Code(.unsupported)
        /// Keys that exclude each other.
        package static let conflict = Code(.conflict)

        package var description: String { self.value.rawValue }
    }

    /// The rule that was broken; compare this.
    package let code: Code
    /// What was refused, where, and what would have been accepted.
    package let message: String

    /// Makes an error; `message` is lower case and has no full stop.
    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}

/// Makes untrusted text fit for a message or a terminal.
package enum QuotedText {
    /// Puts the text in double quotes, with control characters escaped and at most 200 bytes of it.
    package static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            if result.utf8.count > 200 {
                result += "…"
                break
            }
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            default:
                if QuotedText.isControl(scalar) {
                    result += "\\u{" + String(scalar.value, radix: 16) + "}"
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }

    /// Whether a scalar can change how the text around it is shown: controls, line and paragraph
    /// separators, and the marks that turn the direction of writing.
    package static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x200B...0x200F, 0x2028...0x202E, 0x2066...0x2069, 0xFEFF: true
        default: false
        }
    }
}
