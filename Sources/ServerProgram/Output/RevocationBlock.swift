import ControlPlaneProto
import ServiceRuntime

/// The text form of revocations; scripts rely on its labels.
enum RevocationBlock {
    private static let width = 18

    /// A block of lines.
    static func text(_ revocation: Cygnet_Revocation_V1_Revocation) -> String {
        var text = ""
        func add(_ label: String, _ value: String) {
            text += TerminalText.field(label, value, width: self.width) + "\n"
        }
        add("Revocation ID", revocation.id)
        let (label, value) = self.target(revocation.target)
        add(label, value)
        add("And children", String(revocation.andChildren))
        add("Mode", self.mode(revocation))
        add("Reason", revocation.reason.isEmpty ? "(none)" : revocation.reason)
        add("Caller", revocation.caller)
        add("Created at", GoTime.utc(revocation.createdAt))
        add("Expires at", revocation.expiresAt == 0 ? "never" : GoTime.utc(revocation.expiresAt))
        return text
    }

    /// What is hit, or would be.
    static func text(_ hits: Cygnet_Revocation_V1_Hits) -> String {
        var text = ""
        func add(_ label: String, _ value: String) {
            text += TerminalText.field(label, value, width: self.width) + "\n"
        }
        add("X509-SVIDs", String(hits.x509Svids))
        add("JWT-SVIDs", String(hits.jwtSvids))
        add("WIT-SVIDs", String(hits.witSvids))
        add("Entries", String(hits.entries))
        add("Agents", String(hits.agents))
        for id in hits.spiffeIds { add("SPIFFE ID", id) }
        let more = hits.spiffeIDCount - Int64(hits.spiffeIds.count)
        if more > 0 { add("SPIFFE ID", "… and \(more) more") }
        return text
    }

    private static func mode(_ revocation: Cygnet_Revocation_V1_Revocation) -> String {
        if revocation.suspension { return "suspension" }
        return revocation.replace ? "replacement" : "revocation"
    }

    private static func target(_ target: Cygnet_Revocation_V1_Target) -> (String, String) {
        switch target.target {
        case .spiffeID(let value): ("SPIFFE ID", value)
        case .pathPrefix(let value): ("Path prefix", value)
        case .entryID(let value): ("Entry ID", value)
        case .serial(let value): ("Serial number", value)
        case .jti(let value): ("JTI", value)
        case .agentID(let value): ("Agent ID", value)
        case .selector(let value): ("Selector", value.text)
        case .authorityID(let value): ("Authority ID", value)
        case .workload(let value): ("Workload", value.entryID + " on " + value.agentID)
        case nil: ("Target", "(unknown)")
        }
    }
}
