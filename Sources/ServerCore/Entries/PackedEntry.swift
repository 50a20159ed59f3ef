import SPIFFE

/// An entry as the index keeps it: one block of bytes instead of a dozen heap objects.
///
/// Layout: id, SPIFFE path (each a length as varint and UTF-8), parent number, then the other fields. The
/// trust domain, parents and selector types are kept once, outside. The bytes come only from ``pack``, so
/// reading trusts them.
struct PackedEntry {
    private(set) var bytes: [UInt8]

    /// Numbers that stand for repeated strings in packed entries.
    struct Dictionary {
        fileprivate var types: [String] = []

        /// A number below 255 for a selector type, or nil when too many different types are in use.
        fileprivate mutating func number(forType type: String) -> UInt8? {
            if let index = self.types.firstIndex(of: type) { return UInt8(index) }
            guard self.types.count < 255 else { return nil }
            self.types.append(type)
            return UInt8(self.types.count - 1)
        }
    }

    init(_ entry: Entry, parent: UInt32, dictionary: inout Dictionary) {
        var writer = Writer()
        writer.string(entry.id)
        writer.string(entry.spiffeID.path)
        writer.varint(UInt64(parent))
        writer.varint(UInt64(entry.selectors.count))
        for selector in entry.selectors {
            if let number = dictionary.number(forType: selector.type) {
                writer.bytes.append(number)
            } else {
                writer.bytes.append(255)
                writer.string(selector.type)
            }
            writer.string(selector.value)
        }
        var flags: UInt8 = 0
        if entry.admin { flags |= 1 }
        if entry.downstream { flags |= 2 }
        if entry.storeSVID { flags |= 4 }
        if entry.disableX509SVIDPrefetch { flags |= 8 }
        if entry.jwtSVIDIncludeJTI { flags |= 16 }
        if entry.revokesOnExit { flags |= 32 }
        writer.bytes.append(flags)
        writer.varint(UInt64(entry.x509SVIDTTL))
        writer.varint(UInt64(entry.jwtSVIDTTL))
        writer.varint(UInt64(entry.expiresAt))
        writer.varint(UInt64(entry.revision))
        writer.varint(UInt64(entry.createdAt))
        writer.string(entry.hint)
        writer.varint(UInt64(entry.dnsNames.count))
        for name in entry.dnsNames { writer.string(name) }
        let references = entry.federationReferences
        writer.varint(UInt64(references.count))
        for reference in references { writer.string(reference) }
        writer.bytes.reserveCapacity(writer.bytes.count)
        // A copy of exact size: the growing array keeps up to twice what it needs.
        self.bytes = [UInt8](unsafeUninitializedCapacity: writer.bytes.count) { buffer, count in
            count = buffer.initialize(fromContentsOf: writer.bytes)
        }
    }

    /// The entry's ID.
    var id: String {
        var reader = Reader(bytes: self.bytes)
        return reader.string()
    }

    /// The path of the entry's SPIFFE ID.
    var spiffePath: String {
        var reader = Reader(bytes: self.bytes)
        reader.skipString()
        return reader.string()
    }

    /// The number of the entry's parent.
    var parent: UInt32 {
        var reader = Reader(bytes: self.bytes)
        reader.skipString()
        reader.skipString()
        return UInt32(reader.varint())
    }

    func hasID(_ id: String) -> Bool {
        var reader = Reader(bytes: self.bytes)
        return reader.stringEquals(id)
    }

    func hasSPIFFEPath(_ path: String) -> Bool {
        var reader = Reader(bytes: self.bytes)
        reader.skipString()
        return reader.stringEquals(path)
    }

    /// Whether the SPIFFE ID's path is that one or below it by whole segments.
    func hasSPIFFEPath(atOrBelow prefix: String) -> Bool {
        var reader = Reader(bytes: self.bytes)
        reader.skipString()
        return reader.string(isAtOrBelow: prefix)
    }

    /// Whether the entry has the selector; most entries are passed over without a look at their text.
    func has(_ selector: Selector, dictionary: Dictionary) -> Bool {
        let known = dictionary.types.firstIndex { $0.utf8.elementsEqual(selector.type.utf8) }
        var reader = Reader(bytes: self.bytes)
        reader.skipString()
        reader.skipString()
        _ = reader.varint()
        for _ in 0..<Int(reader.varint()) {
            let number = reader.byte()
            let isType =
                number == 255 ? reader.stringEquals(selector.type) : Int(number) == known
            if !isType {
                reader.skipString()
            } else if reader.stringEquals(selector.value) {
                return true
            }
        }
        return false
    }

    /// The whole entry.
    func unpack(trustDomain: TrustDomain, parentPath: String, dictionary: Dictionary) -> Entry? {
        var reader = Reader(bytes: self.bytes)
        let id = reader.string()
        let path = reader.string()
        _ = reader.varint()
        guard let spiffeID = try? SPIFFEID(trustDomain: trustDomain, path: path),
            let parentID = try? SPIFFEID(trustDomain: trustDomain, path: parentPath)
        else { return nil }
        var selectors: [Selector] = []
        let count = Int(reader.varint())
        selectors.reserveCapacity(count)
        for _ in 0..<count {
            let number = reader.byte()
            let type = number == 255 ? reader.string() : dictionary.types[Int(number)]
            guard let selector = Selector(attestedType: type, value: reader.string()) else {
                return nil
            }
            selectors.append(selector)
        }
        var entry = Entry(id: id, spiffeID: spiffeID, parentID: parentID, selectors: selectors)
        let flags = reader.byte()
        entry.admin = flags & 1 != 0
        entry.downstream = flags & 2 != 0
        entry.storeSVID = flags & 4 != 0
        entry.disableX509SVIDPrefetch = flags & 8 != 0
        entry.jwtSVIDIncludeJTI = flags & 16 != 0
        entry.revokesOnExit = flags & 32 != 0
        entry.x509SVIDTTL = Int32(truncatingIfNeeded: reader.varint())
        entry.jwtSVIDTTL = Int32(truncatingIfNeeded: reader.varint())
        entry.expiresAt = Int64(bitPattern: reader.varint())
        entry.revision = Int64(bitPattern: reader.varint())
        entry.createdAt = Int64(bitPattern: reader.varint())
        entry.hint = reader.string()
        for _ in 0..<Int(reader.varint()) { entry.dnsNames.append(reader.string()) }
        for _ in 0..<Int(reader.varint()) {
            guard (try? entry.federate(with: reader.string())) != nil else { return nil }
        }
        return entry
    }

    private struct Writer {
        var bytes: [UInt8] = []

        mutating func varint(_ value: UInt64) {
            var value = value
            while value >= 0x80 {
                self.bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
                value >>= 7
            }
            self.bytes.append(UInt8(value))
        }

        mutating func string(_ text: String) {
            self.varint(UInt64(text.utf8.count))
            self.bytes.append(contentsOf: text.utf8)
        }
    }

    private struct Reader {
        let bytes: [UInt8]
        var offset = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        mutating func byte() -> UInt8 {
            defer { self.offset += 1 }
            return self.bytes[self.offset]
        }

        mutating func varint() -> UInt64 {
            var result: UInt64 = 0
            var shift: UInt64 = 0
            while true {
                let byte = self.byte()
                result |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return result }
                shift += 7
            }
        }

        mutating func string() -> String {
            let count = Int(self.varint())
            defer { self.offset += count }
            return String(decoding: self.bytes[self.offset..<self.offset + count], as: UTF8.self)
        }

        mutating func skipString() {
            let count = Int(self.varint())
            self.offset += count
        }

        mutating func string(isAtOrBelow prefix: String) -> Bool {
            let count = Int(self.varint())
            let end = self.offset + count
            defer { self.offset = end }
            let length = prefix.utf8.count
            guard
                count == length
                    || count > length && self.bytes[self.offset + length] == UInt8(ascii: "/")
            else { return false }
            return prefix.utf8.elementsEqual(self.bytes[self.offset..<self.offset + length])
        }

        mutating func stringEquals(_ text: String) -> Bool {
            let count = Int(self.varint())
            defer { self.offset += count }
            return text.utf8.count == count
                && text.utf8.elementsEqual(self.bytes[self.offset..<self.offset + count])
        }
    }
}
