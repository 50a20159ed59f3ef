import ControlPlaneProto
import ServiceRuntime
import SwiftProtobuf

/// An entry as a user describes it: additional attributes may be left open.
struct EntryInput: Sendable, Hashable {
    /// All but the additional attributes.
    let entry: Spire_Api_Types_Entry
    /// Nil when not said.
    let disableX509SVIDPrefetch: Bool?
    /// Nil when not said.
    let jwtSVIDIncludeJTI: Bool?
    /// Nil when not said.
    let revokeOnExit: Bool?

    /// The entry with the attributes that were named, if any.
    var entryForCreation: Spire_Api_Types_Entry { self.entryForUpdate(nil) }

    /// The entry with the attributes that were named, and the present ones where none was.
    func entryForUpdate(
        _ current: Spire_Api_Types_Entry.AdditionalAttributes?
    ) -> Spire_Api_Types_Entry {
        let isSaid =
            self.disableX509SVIDPrefetch != nil || self.jwtSVIDIncludeJTI != nil
            || self.revokeOnExit != nil
        guard isSaid || current != nil else { return self.entry }
        var entry = self.entry
        var attributes = current ?? Spire_Api_Types_Entry.AdditionalAttributes()
        attributes.disableX509SvidPrefetch =
            self.disableX509SVIDPrefetch ?? attributes.disableX509SvidPrefetch
        attributes.jwtSvidIncludeJti = self.jwtSVIDIncludeJTI ?? attributes.jwtSvidIncludeJti
        if let revokeOnExit { attributes.revokeOnExit = revokeOnExit }
        entry.additionalAttributes = attributes
        return entry
    }

    /// Reads `{"entries": [ … ]}`, the input of `-data`.
    static func read(_ document: ConfigurationDocument) throws -> [EntryInput] {
        var root = try document.section()
        guard let sections = try root.list("entries") else {
            throw root.missing("entries", "expected {\"entries\": [{\"spiffe_id\": …}]}")
        }
        try root.finish()
        return try sections.map { try EntryInput($0) }
    }

    private init(_ section: ConfigurationSection) throws {
        var section = section
        var entry = Spire_Api_Types_Entry()
        for (key, path) in [
            ("spiffe_id", \Spire_Api_Types_Entry.spiffeID), ("parent_id", \.parentID),
        ] {
            guard let text = try section.string(key) else {
                throw section.missing(key, "each entry needs it, as spiffe://…")
            }
            do {
                entry[keyPath: path] = try .parse(text, flag: key)
            } catch {
                throw CommandError("\(section.location(of: key)): \(error.message)")
            }
        }
        for var selector in try section.list("selectors") ?? [] {
            let type = try selector.string("type") ?? ""
            let value = try selector.string("value") ?? ""
            try selector.finish()
            entry.selectors.append(
                .with {
                    $0.type = type
                    $0.value = value
                })
        }
        let seconds = 0...Int(Int32.max)
        entry.id = try section.string("entry_id") ?? ""
        entry.x509SvidTtl = Int32(try section.integer("x509_svid_ttl", in: seconds) ?? 0)
        entry.jwtSvidTtl = Int32(try section.integer("jwt_svid_ttl", in: seconds) ?? 0)
        entry.federatesWith = try section.strings("federates_with") ?? []
        entry.admin = try section.boolean("admin") ?? false
        entry.downstream = try section.boolean("downstream") ?? false
        entry.expiresAt = Int64(try section.integer("entryExpiry", in: 0...Int.max) ?? 0)
        entry.dnsNames = try section.strings("dns_names") ?? []
        entry.storeSvid = try section.boolean("store_svid") ?? false
        entry.hint = try section.string("hint") ?? ""
        section.withoutEffect("revision_number", "created_at", because: "the server sets it")
        var prefetch: Bool?
        var tokenID: Bool?
        var revoke: Bool?
        if var attributes = try section.section("additional_attributes") {
            prefetch = try attributes.boolean("disable_x509_svid_prefetch")
            tokenID = try attributes.boolean("jwt_svid_include_jti")
            revoke = try attributes.boolean("revoke_on_exit")
            try attributes.finish()
        }
        try section.finish()
        self.init(
            entry: entry, disableX509SVIDPrefetch: prefetch, jwtSVIDIncludeJTI: tokenID,
            revokeOnExit: revoke)
    }

    init(
        entry: Spire_Api_Types_Entry, disableX509SVIDPrefetch: Bool?, jwtSVIDIncludeJTI: Bool?,
        revokeOnExit: Bool?
    ) {
        self.revokeOnExit = revokeOnExit
        self.entry = entry
        self.disableX509SVIDPrefetch = disableX509SVIDPrefetch
        self.jwtSVIDIncludeJTI = jwtSVIDIncludeJTI
    }
}

/// Files that commands read their input from.
enum InputFile {
    /// The largest input, in bytes.
    static let maximumSize = 64 * 1024 * 1024

    /// Reads and parses a file, or standard input for `-`.
    static func document(_ path: String) throws -> ConfigurationDocument {
        try ConfigurationDocument(
            parsing: try BoundedFile.read(path, limit: InputFile.maximumSize),
            file: path == "-" ? "standard input" : path, limit: InputFile.maximumSize)
    }
}
