import SPIFFE

/// Collects the members of a leaf; what is nil is left out.
///
/// An issuance waits for its leaf, so values become text only once, in the leaf's bytes.
struct LeafFields {
    private enum Value {
        case text(String)
        case number(Int64)
        case isTrue
        case time(LeafTime)
        case hex([UInt8])
    }

    private var list: [(name: StaticString, value: Value)] = []

    init() { self.list.reserveCapacity(24) }

    mutating func add(_ name: StaticString, _ value: String?) {
        if let value { self.list.append((name, .text(value))) }
    }

    mutating func add(_ name: StaticString, _ value: Int64?) {
        if let value { self.list.append((name, .number(value))) }
    }

    /// Written only when true.
    mutating func add(_ name: StaticString, _ value: Bool) {
        if value { self.list.append((name, .isTrue)) }
    }

    mutating func add(_ name: StaticString, _ value: LeafTime?) {
        if let value { self.list.append((name, .time(value))) }
    }

    /// Bytes in lower-case hex.
    mutating func add(_ name: StaticString, hex value: [UInt8]?) {
        if let value { self.list.append((name, .hex(value))) }
    }

    /// The members as values, in the order in which they were added.
    var members: [(String, JSONValue)] {
        self.list.map { name, value in
            switch value {
            case .text(let text): (name.description, .string(text))
            case .number(let number): (name.description, .int(number))
            case .isTrue: (name.description, .bool(true))
            case .time(let time): (name.description, .string(time.description))
            case .hex(let bytes): (name.description, .string(Hex.encode(bytes)))
            }
        }
    }

    /// The members as a JSON object in canonical form. Names are ASCII and differ, so their order is that of their
    /// bytes.
    ///
    /// - Throws: ``TransparencyError`` `malformedLeaf` for a number above 2⁵³.
    consuming func encode() throws(TransparencyError) -> [UInt8] {
        self.sort()
        var output: [UInt8] = []
        output.reserveCapacity(1024)
        var separator = UInt8(ascii: "{")
        for (name, value) in self.list {
            output.append(separator)
            separator = UInt8(ascii: ",")
            output.append(UInt8(ascii: "\""))
            name.withUTF8Buffer { output.append(contentsOf: $0) }
            output.append(UInt8(ascii: "\""))
            output.append(UInt8(ascii: ":"))
            switch value {
            case .text(let text): CanonicalJSON.append(string: text, to: &output)
            case .number(let number):
                guard number.magnitude <= 1 << 53 else {
                    throw TransparencyError(.malformedLeaf, "\(name) is \(number); at most 2^53")
                }
                output.append(contentsOf: String(number).utf8)
            case .isTrue: output.append(contentsOf: "true".utf8)
            case .time(let time):
                output.append(UInt8(ascii: "\""))
                time.append(to: &output)
                output.append(UInt8(ascii: "\""))
            case .hex(let bytes):
                output.append(UInt8(ascii: "\""))
                Hex.append(bytes, to: &output)
                output.append(UInt8(ascii: "\""))
            }
        }
        output.append(UInt8(ascii: "}"))
        return output
    }

    /// Puts each member where it belongs among those before it: there are few, and most are nearly in order.
    private mutating func sort() {
        for index in self.list.indices.dropFirst() {
            var place = index
            while place > 0, Self.precedes(self.list[place].name, self.list[place - 1].name) {
                self.list.swapAt(place, place - 1)
                place -= 1
            }
        }
    }

    private static func precedes(_ left: StaticString, _ right: StaticString) -> Bool {
        left.withUTF8Buffer { left in
            right.withUTF8Buffer { right in left.lexicographicallyPrecedes(right) }
        }
    }
}

/// Reads the members of a leaf. A member with another type than expected fails the whole leaf, an absent one only where
/// it is asked for with `need`.
struct LeafReader {
    struct Missing: Error {}

    let members: [String: JSONValue]

    func string(_ name: String) throws(Missing) -> String? {
        guard let value = self.members[name] else { return nil }
        guard let text = value.stringValue else { throw Missing() }
        return text
    }

    func number(_ name: String) throws(Missing) -> Int64? {
        guard let value = self.members[name] else { return nil }
        guard case .int(let number) = value else { throw Missing() }
        return number
    }

    func flag(_ name: String) throws(Missing) -> Bool {
        guard let value = self.members[name] else { return false }
        guard let flag = value.boolValue else { throw Missing() }
        return flag
    }

    func time(_ name: String) throws(Missing) -> LeafTime? {
        guard let text = try self.string(name) else { return nil }
        guard let time = LeafTime(parsing: text) else { throw Missing() }
        return time
    }

    func hex(_ name: String) throws(Missing) -> [UInt8]? {
        guard let text = try self.string(name) else { return nil }
        guard let bytes = Hex.decode(text) else { throw Missing() }
        return bytes
    }

    func id(_ name: String) throws(Missing) -> SPIFFEID? {
        guard let text = try self.string(name) else { return nil }
        guard let id = try? SPIFFEID(text) else { throw Missing() }
        return id
    }

    func need<T>(_ value: T?) throws(Missing) -> T {
        guard let value else { throw Missing() }
        return value
    }
}
