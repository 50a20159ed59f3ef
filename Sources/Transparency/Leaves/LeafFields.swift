import SPIFFE

/// Collects the members of a leaf; what is nil is left out.
struct LeafFields {
    private(set) var members: [(String, JSONValue)] = []

    mutating func add(_ name: String, _ value: String?) {
        if let value { self.members.append((name, .string(value))) }
    }

    mutating func add(_ name: String, _ value: Int64?) {
        if let value { self.members.append((name, .int(value))) }
    }

    /// Written only when true.
    mutating func add(_ name: String, _ value: Bool) {
        if value { self.members.append((name, .bool(true))) }
    }

    mutating func add(_ name: String, _ value: LeafTime?) {
        self.add(name, value?.description)
    }

    /// Bytes in lower-case hex.
    mutating func add(_ name: String, hex value: [UInt8]?) {
        self.add(name, value.map(Hex.encode))
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
