/// One value of a configuration file together with the place where it stands.
///
/// HCL and JSON give the same tree: the block `KeyManager "disk" { … }` is the member `KeyManager`
/// whose value is an object with the member `disk`. Members keep their order and are not yet checked
/// for duplicates; ``ConfigurationSection`` does that.
package struct ConfigurationNode: Sendable, Hashable {
    /// The value without its place.
    package indirect enum Value: Sendable, Hashable {
        /// Text, with escapes resolved.
        case string(String)
        /// A number as it was written, such as `8081`, `0x1F` or `1.5e3`.
        case number(String)
        /// `true` or `false`.
        case bool(Bool)
        /// JSON's `null`; HCL has none.
        case null
        /// Values between brackets.
        case list([ConfigurationNode])
        /// A block, a map or a JSON object.
        case object([ConfigurationMember])

        /// The kind of value, for messages.
        package var kind: String {
            switch self {
            case .string: "a string"
            case .number: "a number"
            case .bool: "a boolean"
            case .null: "null"
            case .list: "a list"
            case .object: "a block"
            }
        }
    }

    /// The value.
    package let value: Value
    /// Where it begins.
    package let location: SourceLocation

    /// Makes a node.
    package init(_ value: Value, at location: SourceLocation) {
        self.value = value
        self.location = location
    }
}

/// A key with its value, in a block or object.
package struct ConfigurationMember: Sendable, Hashable {
    /// The key or block label.
    package let key: String
    /// Where the key stands.
    package let location: SourceLocation
    /// What belongs to the key.
    package let node: ConfigurationNode

    /// Makes a member.
    package init(key: String, location: SourceLocation, node: ConfigurationNode) {
        self.key = key
        self.location = location
        self.node = node
    }
}
