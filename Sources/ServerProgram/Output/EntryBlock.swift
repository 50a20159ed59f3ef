import ControlPlaneProto
import ServiceRuntime

/// The text form of entries; scripts rely on its labels.
enum EntryBlock {
    /// A block of lines, with an empty line at the end.
    static func text(_ entry: Spire_Api_Types_Entry) -> String {
        var lines: [String] = []
        func add(_ label: String, _ value: String) {
            lines.append(TerminalText.field(label, value, width: 24))
        }
        add("Entry ID", entry.id.isEmpty ? "(none)" : entry.id)
        add("SPIFFE ID", entry.spiffeID.text)
        add("Parent ID", entry.parentID.text)
        add("Revision", String(entry.revisionNumber))
        if entry.downstream { add("Downstream", "true") }
        add("X509-SVID TTL", entry.x509SvidTtl == 0 ? "default" : String(entry.x509SvidTtl))
        add("JWT-SVID TTL", entry.jwtSvidTtl == 0 ? "default" : String(entry.jwtSvidTtl))
        if entry.expiresAt != 0 { add("Expiration time", GoTime.utc(entry.expiresAt)) }
        for selector in entry.selectors { add("Selector", selector.text) }
        for trustDomain in entry.federatesWith { add("FederatesWith", trustDomain) }
        for name in entry.dnsNames { add("DNS name", name) }
        // An entry can be a downstream server's or an administrator's; only what is set is shown.
        if entry.admin { add("Admin", "true") }
        if entry.storeSvid { add("StoreSvid", "true") }
        if !entry.hint.isEmpty { add("Hint", entry.hint) }
        if entry.additionalAttributes.disableX509SvidPrefetch {
            add("DisableX509SvidPrefetch", "true")
        }
        if entry.additionalAttributes.jwtSvidIncludeJti { add("JwtSvidIncludeJti", "true") }
        if entry.additionalAttributes.revokeOnExit { add("RevokeOnExit", "true") }
        return lines.joined(separator: "\n") + "\n\n"
    }

    /// An entry that the server refused, with the reason in front.
    static func failure(
        _ action: String, _ status: Spire_Api_Types_Status, _ entry: Spire_Api_Types_Entry
    ) -> String {
        "Failed to \(action) the following entry \(EntryBlock.reason(status)):\n"
            + EntryBlock.text(entry)
    }

    /// The status of one item of a batch.
    static func reason(_ status: Spire_Api_Types_Status) -> String {
        "(code: \(StatusCodeName.name(Int(status.code))), msg: \(QuotedText.quoted(status.message)))"
    }
}
