import SPIFFE

/// One leaf of the ledger: what happened, and when. docs/ledger.md has the schema.
package struct Leaf: Hashable, Sendable {
    /// The version of the schema that is written. A reader takes higher ones too: new versions only add.
    package static let version: Int64 = 1

    /// When, by the server's clock. Leaves are in the order in which they were recorded; their times may not be.
    package let time: LeafTime
    /// What happened.
    package let event: LeafEvent

    package init(time: LeafTime, event: LeafEvent) {
        self.time = time
        self.event = event
    }

    /// The leaf's bytes: canonical JSON (RFC 8785).
    ///
    /// - Throws: ``TransparencyError`` `tooLarge` above 65,535 bytes; `malformedLeaf` for a number above 2⁵³.
    package func encode() throws(TransparencyError) -> [UInt8] {
        let bytes: [UInt8]
        if var fields = self.event.fields {
            fields.add("time", self.time)
            fields.add("type", self.event.type)
            fields.add("v", Self.version)
            bytes = try fields.encode()
        } else {
            bytes = try self.encodeGenerally()
        }
        guard bytes.count <= EntryBundle.maximumEntry else {
            throw TransparencyError(
                .tooLarge,
                "a leaf \(self.event.type) of \(bytes.count) bytes; at most \(EntryBundle.maximumEntry)"
            )
        }
        return bytes
    }

    /// The same by way of JSON values, for members from elsewhere: any names, perhaps one of ours.
    func encodeGenerally() throws(TransparencyError) -> [UInt8] {
        var members: [String: JSONValue] = [:]
        for (name, value) in self.event.members { members[name] = value }
        members["v"] = .int(Self.version)
        members["type"] = .string(self.event.type)
        members["time"] = .string(self.time.description)
        for case (let name, .int(let number)) in members where number.magnitude > 1 << 53 {
            throw TransparencyError(.malformedLeaf, "\(name) is \(number); at most 2^53")
        }
        return try CanonicalJSON.encode(.object(members))
    }

    /// Reads a leaf. Types that are not known here come as ``LeafEvent/other(type:members:)``, and so do known ones
    /// that lack a member or have it in another form; members that are not known are ignored.
    ///
    /// - Throws: ``TransparencyError`` `malformedLeaf` when it is not a JSON object with `v`, `type` and `time`.
    package init(parsing bytes: [UInt8]) throws(TransparencyError) {
        guard bytes.count <= EntryBundle.maximumEntry, let value = try? JSONValue(parsing: bytes),
            let members = value.objectValue
        else {
            throw TransparencyError(
                .malformedLeaf, "\(TransparencyError.quoted(bytes)) is no JSON object")
        }
        guard case .int(let version)? = members["v"], version >= 1,
            let type = members["type"]?.stringValue, !type.isEmpty,
            let text = members["time"]?.stringValue, let time = LeafTime(parsing: text)
        else {
            throw TransparencyError(
                .malformedLeaf,
                "\(TransparencyError.quoted(bytes)) is no leaf: it needs v, type, and time in RFC 3339 and UTC"
            )
        }
        self.time = time
        self.event = LeafEvent(type: type, members: members)
    }
}
