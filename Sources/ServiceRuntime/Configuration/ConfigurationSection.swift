/// Reads one block of a configuration key by key and refuses every key that nobody asked for.
///
/// Ask for each known key with the method for its type, then call ``finish()``. The order of asking is
/// free. A key that is absent gives nil; one of the wrong type, a duplicate or a value outside the
/// accepted range throws with file, line and the accepted form. As SPIRE does, a number or boolean may
/// also be written in quotes, and a string as a bare number.
package struct ConfigurationSection {
    /// The path of the block for messages, such as `server.ratelimit`; empty at the top.
    package let name: String
    /// Where the block begins.
    package let location: SourceLocation
    /// What is worth telling the operator about keys that were accepted, in the order found.
    package private(set) var notes: [String] = []

    private let members: [String: [ConfigurationMember]]
    private let order: [String]
    private var known: Set<String> = []

    /// Makes a reader for a node that must be a block.
    ///
    /// A list with exactly one block in it counts as that block: it is how JSON made from HCL looks.
    package init(_ node: ConfigurationNode, name: String) throws(ConfigurationError) {
        var node = node
        if case .list(let elements) = node.value, let only = elements.first, elements.count == 1 {
            node = only
        }
        guard case .object(let members) = node.value else {
            let what = name.isEmpty ? "the configuration" : "key \"\(name)\""
            throw ConfigurationError(
                .wrongType, "\(what) at \(node.location) is \(node.value.kind); expected a block")
        }
        self.name = name
        self.location = node.location
        self.members = Dictionary(grouping: members, by: \.key)
        var seen: Set<String> = []
        self.order = members.map(\.key).filter { seen.insert($0).inserted }
    }

    /// Makes a reader for a block that is absent: every key gives nil.
    package init(absent name: String, at location: SourceLocation) {
        self.name = name
        self.location = location
        self.members = [:]
        self.order = []
    }

    // MARK: Values

    /// Text, or nil when the key is absent.
    package mutating func string(_ key: String) throws(ConfigurationError) -> String? {
        guard let member = try self.take(key) else { return nil }
        guard let text = member.node.value.text else { throw self.wrongType(member, "a string") }
        return text
    }

    /// Text as it is, or a block as JSON text: for documents that stand inside a document.
    package mutating func document(_ key: String) throws(ConfigurationError) -> String? {
        guard let member = try self.take(key) else { return nil }
        switch member.node.value {
        case .string(let text): return text
        case .object:
            var text = ""
            JSONLine.append(member.node.value, to: &text)
            return text
        default: throw self.wrongType(member, "a string or a block")
        }
    }

    /// A whole number within a range.
    package mutating func integer(
        _ key: String, in range: ClosedRange<Int> = Int.min...Int.max
    ) throws(ConfigurationError) -> Int? {
        guard let member = try self.take(key) else { return nil }
        guard let text = member.node.value.text, let value = NumberText.integer(text) else {
            throw self.wrongType(member, "a whole number")
        }
        guard range.contains(value) else {
            throw self.invalid(
                member,
                "\(value) is out of range; accepted are \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// `true` or `false`.
    package mutating func boolean(_ key: String) throws(ConfigurationError) -> Bool? {
        guard let member = try self.take(key) else { return nil }
        switch member.node.value {
        case .bool(let value): return value
        case .string("true"), .string("1"), .number("1"): return true
        case .string("false"), .string("0"), .number("0"): return false
        default: throw self.wrongType(member, "true or false")
        }
    }

    /// A duration in Go's notation, within a range that excludes nothing above `minimum`.
    package mutating func duration(
        _ key: String, atLeast minimum: Duration = .zero
    ) throws(ConfigurationError) -> Duration? {
        guard let member = try self.take(key) else { return nil }
        guard case .string(let text) = member.node.value else {
            throw self.wrongType(member, "a duration in quotes, such as \"1h30m\"")
        }
        guard let value = GoDuration.parse(text) else {
            throw self.invalid(
                member,
                "\(QuotedText.quoted(text)) is no duration; expected a form such as \"1h30m\" or \"10s\" "
                    + "(units h, m, s, ms; there is none for days)")
        }
        guard value >= minimum else {
            throw self.invalid(
                member, "\(text) is too short; at least \(GoDuration.format(minimum)) is accepted")
        }
        return value
    }

    /// A list of text.
    package mutating func strings(_ key: String) throws(ConfigurationError) -> [String]? {
        guard let member = try self.take(key) else { return nil }
        guard case .list(let elements) = member.node.value else {
            throw self.wrongType(member, "a list of strings")
        }
        var texts: [String] = []
        for element in elements {
            guard let text = element.value.text else {
                throw ConfigurationError(
                    .wrongType,
                    "key \(self.path(key)) at \(element.location) has \(element.value.kind) in its list; "
                        + "expected strings")
            }
            texts.append(text)
        }
        return texts
    }

    /// One of several words, compared without regard to case; gives the word as it is listed.
    package mutating func choice(
        _ key: String, among words: [String]
    ) throws(ConfigurationError) -> String? {
        try self.parsed(key, expecting: words.map { "\"\($0)\"" }.joined(separator: ", ")) { text in
            words.first { $0.lowercased() == text.lowercased() }
        }
    }

    /// Text that another parser understands.
    ///
    /// - Parameters:
    ///   - expecting: The accepted form, for the message.
    ///   - parse: Gives nil or throws when the text is not accepted; what it throws is shown.
    package mutating func parsed<Value>(
        _ key: String, expecting: String, _ parse: (String) throws -> Value?
    ) throws(ConfigurationError) -> Value? {
        guard let text = try self.string(key), let member = self.members[key]?.first else {
            return nil
        }
        let value: Value?
        do {
            value = try parse(text)
        } catch {
            throw self.invalid(member, "\(error); expected \(expecting)")
        }
        guard let value else {
            throw self.invalid(
                member, "\(QuotedText.quoted(text)) is not accepted; expected \(expecting)")
        }
        return value
    }

    // MARK: Blocks

    /// A block that may appear once, or nil.
    package mutating func section(_ key: String) throws(ConfigurationError) -> ConfigurationSection?
    {
        guard let member = try self.take(key) else { return nil }
        return try ConfigurationSection(member.node, name: self.childName(key))
    }

    /// Blocks in a list, or nil when the key is absent.
    package mutating func list(_ key: String) throws(ConfigurationError) -> [ConfigurationSection]?
    {
        guard let member = try self.take(key) else { return nil }
        guard case .list(let elements) = member.node.value else {
            throw self.wrongType(member, "a list of blocks")
        }
        var sections: [ConfigurationSection] = []
        for (index, element) in elements.enumerated() {
            sections.append(
                try ConfigurationSection(element, name: "\(self.childName(key))[\(index)]"))
        }
        return sections
    }

    /// Blocks with one label, such as `KeyManager "disk" { … }`, in the order of the file.
    ///
    /// In JSON the same is an object keyed by label, or a list of such objects.
    package mutating func labelledSections(
        _ key: String
    ) throws(ConfigurationError) -> [(label: String, section: ConfigurationSection)] {
        self.known.insert(key)
        var result: [(label: String, section: ConfigurationSection)] = []
        for member in self.members[key] ?? [] {
            let nodes: [ConfigurationNode]
            if case .list(let elements) = member.node.value {
                nodes = elements
            } else {
                nodes = [member.node]
            }
            for node in nodes {
                guard case .object(let labels) = node.value else {
                    throw self.wrongType(member, "a block with a name, such as \(key) \"name\" { }")
                }
                for label in labels {
                    guard label.node.value.isBlock else {
                        throw ConfigurationError(
                            .wrongType,
                            "block \(self.path(key)) at \(member.location) has no name; expected "
                                + "\(key) \"name\" { … }")
                    }
                    let name = "\(self.childName(key)) \"\(label.key)\""
                    result.append((label.key, try ConfigurationSection(label.node, name: name)))
                }
            }
        }
        return result
    }

    // MARK: Keys that have no effect here

    /// Refuses a key that SPIRE knows and that is not implemented yet.
    ///
    /// - Parameter harmless: Says of a value that it asks for nothing, such as `false` for a switch; the
    ///   key is then accepted.
    package mutating func unsupported(
        _ keys: String..., unless harmless: (ConfigurationNode.Value) -> Bool = { _ in false }
    ) throws(ConfigurationError) {
        for key in keys {
            self.known.insert(key)
            for member in self.members[key] ?? [] where !harmless(member.node.value) {
                throw ConfigurationError(
                    .unsupported,
                    "known to SPIRE but not supported yet: \(self.path(key)) at \(member.location)")
            }
        }
    }

    /// Accepts a key that has nothing to act on here, and leaves a note that says so.
    package mutating func withoutEffect(_ keys: String..., because reason: String) {
        for key in keys {
            self.known.insert(key)
            if let member = self.members[key]?.first {
                self.notes.append(
                    "\(self.path(key)) at \(member.location) has no effect: \(reason)")
            }
        }
    }

    // MARK: The end

    /// Throws when the block has keys that were not asked for; the message names every one of them.
    package func finish() throws(ConfigurationError) {
        let unknown = self.order.filter { !self.known.contains($0) }
        guard !unknown.isEmpty else { return }
        let candidates = self.known.sorted()
        let lines = unknown.prefix(20).map { key in
            let place = self.members[key]?.first?.location ?? self.location
            let hint = NearestName.nearest(to: key, among: candidates)
            let block = self.name.isEmpty ? "" : " in \(self.name)"
            return "unknown key \(QuotedText.quoted(key))\(block) at \(place)"
                + (hint.map { "; did you mean \"\($0)\"?" } ?? "")
        }
        throw ConfigurationError(.unknownKey, lines.joined(separator: "\n"))
    }

    /// An error for a key that must be there.
    package func missing(_ key: String, _ hint: String) -> ConfigurationError {
        ConfigurationError(
            .missingKey, "key \(self.path(key)) is missing in \(self.location.file); \(hint)")
    }

    /// Where a key stands, or where the block begins when it is absent.
    package func location(of key: String) -> SourceLocation {
        self.members[key]?.first?.location ?? self.location
    }

    private mutating func take(_ key: String) throws(ConfigurationError) -> ConfigurationMember? {
        self.known.insert(key)
        guard let found = self.members[key], let first = found.first else { return nil }
        if found.count > 1 {
            throw ConfigurationError(
                .duplicateKey,
                "key \(self.path(key)) at \(found[1].location) appeared before at \(first.location)"
            )
        }
        if case .null = first.node.value { return nil }
        return first
    }

    private func childName(_ key: String) -> String {
        self.name.isEmpty ? key : "\(self.name).\(key)"
    }

    private func path(_ key: String) -> String {
        self.name.isEmpty ? "\"\(key)\"" : "\"\(key)\" of \(self.name)"
    }

    private func wrongType(_ member: ConfigurationMember, _ expected: String) -> ConfigurationError
    {
        ConfigurationError(
            .wrongType,
            "key \(self.path(member.key)) at \(member.location) is \(member.node.value.kind); "
                + "expected \(expected)")
    }

    private func invalid(_ member: ConfigurationMember, _ reason: String) -> ConfigurationError {
        ConfigurationError(
            .invalidValue, "key \(self.path(member.key)) at \(member.location): \(reason)")
    }
}

extension ConfigurationNode.Value {
    /// Whether the value turns a switch off, or is an empty block, list or string.
    package var asksForNothing: Bool {
        switch self {
        case .bool(let value): !value
        case .string(let text): text.isEmpty || text == "false"
        case .null: true
        case .list(let elements): elements.isEmpty
        case .object(let members): members.isEmpty
        case .number: false
        }
    }

    fileprivate var text: String? {
        switch self {
        case .string(let text), .number(let text): text
        default: nil
        }
    }

    fileprivate var isBlock: Bool {
        switch self {
        case .object: true
        case .list(let elements): elements.count == 1 && elements.allSatisfy { $0.value.isBlock }
        default: false
        }
    }
}
