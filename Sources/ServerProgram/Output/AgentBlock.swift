import ControlPlaneProto
import ServiceRuntime

/// The text form of attested agents; scripts rely on its labels.
enum AgentBlock {
    /// A block of lines.
    static func text(_ agent: Spire_Api_Types_Agent) -> String {
        var text = ""
        func add(_ label: String, _ value: String) {
            text += TerminalText.field(label, value, width: 18) + "\n"
        }
        add("SPIFFE ID", agent.id.text)
        add("Attestation type", agent.attestationType)
        add("Expiration time", GoTime.local(agent.x509SvidExpiresAt))
        // A banned agent has no serial number.
        if agent.banned {
            add("Banned", "true")
        } else {
            add("Serial number", agent.x509SvidSerialNumber)
        }
        add("Can re-attest", agent.canReattest ? "true" : "false")
        if !agent.agentVersion.isEmpty { add("Agent version", agent.agentVersion) }
        return text
    }
}
