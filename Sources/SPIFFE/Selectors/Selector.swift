/// A selector: one attested fact about a workload or node, written `type:value`.
///
/// Valid by construction: the type is not empty and has no colon, the value is not empty (and may have
/// colons). Both are kept byte for byte.
public struct Selector: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Which attestor states the fact, such as `unix`.
    public let type: String
    /// The fact in the attestor's own form, such as `uid:1000`.
    public let value: String

    /// - Throws: ``SelectorError`` when type or value is empty, the type has a colon, or either has a
    ///   NUL byte.
    public init(type: String, value: String) throws(SelectorError) {
        if type.isEmpty {
            throw SelectorError(.emptyType, "selector \(SPIFFEIDError.quoted(":" + value))")
        }
        if type.utf8.contains(UInt8(ascii: ":")) {
            throw SelectorError(.colonInType, "selector type \(SPIFFEIDError.quoted(type))")
        }
        if value.isEmpty {
            throw SelectorError(.emptyValue, "selector \(SPIFFEIDError.quoted(type + ":"))")
        }
        if type.utf8.contains(0) || value.utf8.contains(0) {
            throw SelectorError(.nul, "selector \(SPIFFEIDError.quoted(type + ":" + value))")
        }
        self.type = type
        self.value = value
    }

    /// Parses `type:value`, split at the first colon.
    ///
    /// - Throws: ``SelectorError``; `noColon` when there is none.
    public init(_ text: String) throws(SelectorError) {
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else {
            throw SelectorError(.noColon, "selector \(SPIFFEIDError.quoted(text))")
        }
        try self.init(
            type: String(text[..<colon]), value: String(text[text.utf8.index(after: colon)...]))
    }

    /// For facts that an attestor made from parts it has checked; nil when they form no selector.
    package init?(attestedType type: String, value: String) {
        do { try self.init(type: type, value: value) } catch { return nil }
    }

    public var description: String { self.type + ":" + self.value }

    // Bytes are compared, not Unicode equivalence: two paths that look alike are two files.

    public static func == (left: Selector, right: Selector) -> Bool {
        left.type.utf8.elementsEqual(right.type.utf8)
            && left.value.utf8.elementsEqual(right.value.utf8)
    }

    public func hash(into hasher: inout Hasher) {
        var (type, value) = (self.type, self.value)
        type.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        hasher.combine(0 as UInt8)
        value.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }

    public static func < (left: Selector, right: Selector) -> Bool {
        if !left.type.utf8.elementsEqual(right.type.utf8) {
            return left.type.utf8.lexicographicallyPrecedes(right.type.utf8)
        }
        return left.value.utf8.lexicographicallyPrecedes(right.value.utf8)
    }
}

/// Why a selector was refused.
public struct SelectorError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The rule that was broken.
    public struct Code: Hashable, Sendable {
        private enum Value: String { case emptyType, colonInType, emptyValue, noColon, nul }
        private let value: Value
        private init(_ value: Value) { self.value = value }
        /// The type is empty.
        public static let emptyType = Code(.emptyType)
        /// The type has a colon.
        public static let colonInType = Code(.colonInType)
        /// The value is empty.
        public static let emptyValue = Code(.emptyValue)
        /// There is no colon between type and value.
        public static let noColon = Code(.noColon)
        /// There is a NUL byte.
        public static let nul = Code(.nul)

        fileprivate var reason: String {
            switch self.value {
            case .emptyType: "the type is empty"
            case .colonInType: "the type has a colon"
            case .emptyValue: "the value is empty"
            case .noColon: "there is no colon"
            case .nul: "it has a NUL byte"
            }
        }
    }

    /// The rule that was broken; compare this.
    public let code: Code
    /// What was refused and the accepted form, for people.
    public let message: String

    init(_ code: Code, _ what: String) {
        self.code = code
        self.message =
            "\(what) rejected: \(code.reason); expected type:value, such as unix:uid:1000"
    }

    public var description: String { self.message }
}
