/// The part of YAML that kubeconfigs are written in, and JSON, which is part of YAML.
///
/// Block mappings and sequences, plain, single- and double-quoted scalars on one line, literal blocks (`|`), and
/// `{}` and `[]`. Anchors, aliases, tags, folded blocks and several documents are refused by name: none of the
/// programs that write kubeconfigs make them.
indirect enum KubeconfigYAML: Equatable {
    case scalar(String)
    case sequence([KubeconfigYAML])
    case mapping([String: KubeconfigYAML])

    subscript(key: String) -> KubeconfigYAML? {
        if case .mapping(let members) = self { members[key] } else { nil }
    }

    var text: String? {
        if case .scalar(let value) = self { value } else { nil }
    }

    var elements: [KubeconfigYAML] {
        if case .sequence(let elements) = self { elements } else { [] }
    }

    /// Why a text cannot be read, with its line.
    struct Failure: Error, Equatable {
        let line: Int
        let reason: String
    }

    /// How deep blocks may be nested.
    static let maximumDepth = 32

    /// - Throws: ``Failure``.
    static func parse(_ text: String) throws(Failure) -> KubeconfigYAML {
        var lines: [KubeconfigLine] = []
        for (index, raw) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            var content = raw[...]
            if content.hasSuffix("\r") { content = content.dropLast() }
            let indent = content.prefix { $0 == " " }.count
            lines.append(
                KubeconfigLine(
                    number: index + 1, indent: indent, text: String(content.dropFirst(indent))))
        }
        var parser = KubeconfigParser(lines: lines)
        return try parser.document()
    }
}

/// A line without its indentation.
struct KubeconfigLine {
    let number: Int
    var indent: Int
    var text: String

    /// Whether there is nothing on it but a comment.
    var isBlank: Bool { self.text.isEmpty || self.text.hasPrefix("#") }
}

/// Reads lines from the top; `position` is the next one.
private struct KubeconfigParser {
    var lines: [KubeconfigLine]
    var position = 0

    typealias Failure = KubeconfigYAML.Failure

    mutating func document() throws(Failure) -> KubeconfigYAML {
        self.skipBlank()
        if self.current?.text == "---" {
            self.position += 1
            self.skipBlank()
        }
        guard let first = self.current else { return .mapping([:]) }
        let value = try self.block(indent: first.indent, depth: 0)
        self.skipBlank()
        if let rest = self.current {
            throw Failure(line: rest.number, reason: "unexpected text at this indentation")
        }
        return value
    }

    private var current: KubeconfigLine? {
        self.position < self.lines.count ? self.lines[self.position] : nil
    }

    private mutating func skipBlank() {
        while let line = self.current, line.isBlank { self.position += 1 }
    }

    /// The mapping or sequence whose lines begin at this indentation.
    private mutating func block(indent: Int, depth: Int) throws(Failure) -> KubeconfigYAML {
        guard let line = self.current else { return .scalar("") }
        guard depth < KubeconfigYAML.maximumDepth else {
            throw Failure(line: line.number, reason: "blocks are nested too deep")
        }
        if line.text.contains("\t"), line.text.first == "\t" {
            throw Failure(line: line.number, reason: "a tab stands in the indentation")
        }
        if line.text == "-" || line.text.hasPrefix("- ") {
            return try self.sequence(indent: indent, depth: depth)
        }
        if line.text.first == "{" || line.text.first == "[" {
            self.position += 1
            return try self.flow(line.text, line.number)
        }
        return try self.mapping(indent: indent, depth: depth)
    }

    private mutating func sequence(indent: Int, depth: Int) throws(Failure) -> KubeconfigYAML {
        var elements: [KubeconfigYAML] = []
        while let line = self.next(at: indent), line.text == "-" || line.text.hasPrefix("- ") {
            let rest = line.text.dropFirst()
            let spaces = rest.prefix { $0 == " " }.count
            let content = String(rest.dropFirst(spaces))
            if content.isEmpty || content.hasPrefix("#") {
                self.position += 1
                elements.append(try self.nested(below: indent, depth: depth) ?? .scalar(""))
            } else if try self.key(of: content, line.number) != nil {
                // The element is a mapping whose first member stands behind the dash.
                self.lines[self.position].indent = indent + 1 + spaces
                self.lines[self.position].text = content
                elements.append(try self.block(indent: indent + 1 + spaces, depth: depth + 1))
            } else {
                self.position += 1
                elements.append(
                    try self.value(content, line.number, indent: indent, depth: depth))
            }
        }
        return .sequence(elements)
    }

    private mutating func mapping(indent: Int, depth: Int) throws(Failure) -> KubeconfigYAML {
        var members: [String: KubeconfigYAML] = [:]
        while let line = self.next(at: indent) {
            if line.text == "-" || line.text.hasPrefix("- ") { break }
            guard let (key, rest) = try self.key(of: line.text, line.number) else {
                throw Failure(line: line.number, reason: "expected \"key: value\"")
            }
            self.position += 1
            let value: KubeconfigYAML
            if rest.isEmpty || rest.hasPrefix("#") {
                // A sequence may stand at the indentation of its key.
                self.skipBlank()
                if let below = self.current, below.indent == indent,
                    below.text == "-" || below.text.hasPrefix("- ")
                {
                    value = try self.sequence(indent: indent, depth: depth + 1)
                } else {
                    value = try self.nested(below: indent, depth: depth) ?? .scalar("")
                }
            } else {
                value = try self.value(rest, line.number, indent: indent, depth: depth)
            }
            guard members.updateValue(value, forKey: key) == nil else {
                throw Failure(line: line.number, reason: "a key occurs twice")
            }
        }
        return .mapping(members)
    }

    /// The next line of a block, or nil when the block has ended.
    private mutating func next(at indent: Int) -> KubeconfigLine? {
        self.skipBlank()
        guard let line = self.current, line.indent == indent else { return nil }
        return line.text == "---" || line.text == "..." ? nil : line
    }

    /// A block that is indented further; nil when there is none.
    private mutating func nested(below indent: Int, depth: Int) throws(Failure) -> KubeconfigYAML? {
        self.skipBlank()
        guard let line = self.current, line.indent > indent else { return nil }
        return try self.block(indent: line.indent, depth: depth + 1)
    }

    /// A value on one line, or a literal block that begins there.
    private mutating func value(
        _ text: String, _ number: Int, indent: Int, depth: Int
    ) throws(Failure) -> KubeconfigYAML {
        switch text.first {
        case "{", "[": return try self.flow(text, number)
        case "\"", "'":
            let (value, rest) = try KubeconfigScalar.quoted(text[...], number)
            try KubeconfigScalar.expectEnd(rest, number)
            return .scalar(value)
        case "|": return .scalar(try self.literal(text, number, indent: indent))
        case ">", "&", "*", "!", "%", "@", "`":
            throw Failure(
                line: number, reason: "anchors, tags and folded text are not understood here")
        default: return .scalar(KubeconfigScalar.plain(text))
        }
    }

    private mutating func literal(
        _ header: String, _ number: Int, indent: Int
    ) throws(Failure) -> String {
        guard ["|", "|-", "|+"].contains(KubeconfigScalar.plain(header)) else {
            throw Failure(line: number, reason: "only |, |- and |+ begin literal text")
        }
        var taken: [KubeconfigLine] = []
        while let line = self.current, line.text.isEmpty || line.indent > indent {
            taken.append(line)
            self.position += 1
        }
        let depth = taken.first { !$0.text.isEmpty }?.indent ?? 0
        let text = taken.map { line in
            String(repeating: " ", count: max(0, line.indent - depth)) + line.text
        }
        return text.joined(separator: "\n") + (header.hasPrefix("|-") ? "" : "\n")
    }

    /// `{…}` and `[…]` on one line.
    private func flow(_ text: String, _ number: Int) throws(Failure) -> KubeconfigYAML {
        switch KubeconfigScalar.plain(text) {
        case "{}": return .mapping([:])
        case "[]": return .sequence([])
        default:
            throw Failure(
                line: number, reason: "of the forms in braces only {} and [] are understood here")
        }
    }

    /// Key and the rest of the line; nil when the line has no key.
    private func key(of text: String, _ number: Int) throws(Failure) -> (String, String)? {
        if text.first == "\"" || text.first == "'" {
            let (key, rest) = try KubeconfigScalar.quoted(text[...], number)
            guard rest.first == ":" else { return nil }
            return (key, KubeconfigScalar.trimmed(rest.dropFirst()))
        }
        var index = text.startIndex
        while let colon = text[index...].firstIndex(of: ":") {
            let after = text.index(after: colon)
            if after == text.endIndex || text[after] == " " {
                return (
                    KubeconfigScalar.trimmed(text[..<colon]),
                    KubeconfigScalar.trimmed(text[after...])
                )
            }
            index = after
        }
        return nil
    }
}

/// Scalars on one line.
private enum KubeconfigScalar {
    static func trimmed(_ text: Substring) -> String {
        var text = text
        while text.first == " " { text = text.dropFirst() }
        while text.last == " " || text.last == "\t" { text = text.dropLast() }
        return String(text)
    }

    /// A plain scalar, without a comment behind it.
    static func plain(_ text: String) -> String {
        let end = text.firstRange(of: " #")?.lowerBound ?? text.endIndex
        let value = self.trimmed(text[..<end])
        return value == "null" || value == "~" ? "" : value
    }

    /// The value in quotes and what follows it.
    static func quoted(
        _ text: Substring, _ line: Int
    ) throws(KubeconfigYAML.Failure) -> (String, Substring) {
        let quote = text.first
        var rest = text.dropFirst()
        var value = ""
        while let character = rest.popFirst() {
            if character == quote {
                guard quote == "'", rest.first == "'" else { return (value, rest) }
                rest = rest.dropFirst()
                value.append("'")
            } else if character == "\\", quote == "\"" {
                switch rest.popFirst() {
                case "n": value.append("\n")
                case "t": value.append("\t")
                case "r": value.append("\r")
                case "\"": value.append("\"")
                case "\\": value.append("\\")
                case "/": value.append("/")
                default:
                    throw .init(line: line, reason: "an escape in quotes is not understood")
                }
            } else {
                value.append(character)
            }
        }
        throw .init(line: line, reason: "the quote does not end on its line")
    }

    static func expectEnd(_ rest: Substring, _ line: Int) throws(KubeconfigYAML.Failure) {
        let rest = self.trimmed(rest)
        guard rest.isEmpty || rest.hasPrefix("#") else {
            throw .init(line: line, reason: "text follows the quote")
        }
    }
}
