/// The fields of a protobuf message, as far as they decide what `-output json` prints.
///
/// Protobuf's JSON leaves out fields that have their zero value; SPIRE's command line prints them.
/// A shape says which fields there are and what their zero looks like.
package struct MessageShape: Sendable {
    /// One field.
    package indirect enum Field: Sendable {
        /// Text or base64 bytes; zero is `""`.
        case text
        /// A number of up to 32 bits; zero is `0`.
        case number
        /// A 64-bit number, printed as text; zero is `"0"`.
        case bigNumber
        /// Zero is `false`.
        case boolean
        /// Values without fields of their own; zero is `[]`.
        case list
        /// Messages; zero is `[]`.
        case messages(MessageShape)
        /// Zero is `{}`.
        case map
        /// A message, left out when it is not there.
        case message(MessageShape)
    }

    /// Fields by their names in the protocol.
    package let fields: [String: Field]

    /// Makes a shape.
    package init(_ fields: [String: Field]) { self.fields = fields }

    /// A message without fields.
    package static let empty = MessageShape([:])

    /// Adds zero values to a message in protobuf's JSON (with the protocol's field names) and writes it
    /// on one line with sorted keys.
    ///
    /// - Throws: ``ConfigurationError`` when the text is no JSON.
    package func complete(json: [UInt8]) throws(ConfigurationError) -> String {
        var parser = JSONConfigurationParser(bytes: json, file: "message")
        let node = try parser.parse()
        var line = ""
        JSONLine.append(self.completed(node.value), to: &line)
        return line
    }

    private func completed(_ value: ConfigurationNode.Value) -> ConfigurationNode.Value {
        guard case .object(let members) = value else { return value }
        var result: [ConfigurationMember] = []
        let place = SourceLocation(file: "message", line: 1, column: 1)
        for member in members {
            let node: ConfigurationNode
            switch (self.fields[member.key], member.node.value) {
            case (_, .null):
                continue
            case (.message(let shape), let value):
                node = ConfigurationNode(shape.completed(value), at: place)
            case (.messages(let shape), .list(let elements)):
                node = ConfigurationNode(
                    .list(elements.map { ConfigurationNode(shape.completed($0.value), at: place) }),
                    at: place)
            default:
                node = member.node
            }
            result.append(ConfigurationMember(key: member.key, location: place, node: node))
        }
        let present = Set(members.map(\.key))
        for (name, field) in self.fields where !present.contains(name) {
            guard let zero = field.zero else { continue }
            result.append(
                ConfigurationMember(
                    key: name, location: place, node: ConfigurationNode(zero, at: place)))
        }
        return .object(result)
    }
}

extension MessageShape.Field {
    fileprivate var zero: ConfigurationNode.Value? {
        switch self {
        case .text: .string("")
        case .number: .number("0")
        case .bigNumber: .string("0")
        case .boolean: .bool(false)
        case .list, .messages: .list([])
        case .map: .object([])
        case .message: nil
        }
    }
}

/// Writes JSON on one line with sorted keys.
package enum JSONLine {
    /// Appends a value.
    package static func append(_ value: ConfigurationNode.Value, to line: inout String) {
        switch value {
        case .string(let text): line += LogText.json(text)
        // Protobuf writes whole numbers of a Struct with a fraction; Go does not.
        case .number(let text): line += text.hasSuffix(".0") ? String(text.dropLast(2)) : text
        case .bool(let value): line += value ? "true" : "false"
        case .null: line += "null"
        case .list(let elements):
            line += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { line += "," }
                append(element.value, to: &line)
            }
            line += "]"
        case .object(let members):
            line += "{"
            for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { line += "," }
                line += LogText.json(member.key) + ":"
                append(member.node.value, to: &line)
            }
            line += "}"
        }
    }

    /// A text as JSON, with its quotes.
    package static func text(_ text: String) -> String { LogText.json(text) }
}
