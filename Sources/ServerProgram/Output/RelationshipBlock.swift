import ControlPlaneProto
import ServiceRuntime

/// The text form of federation relationships; scripts rely on its labels.
enum RelationshipBlock {
    /// A block of lines.
    static func text(_ relationship: Spire_Api_Types_FederationRelationship) -> String {
        var text = ""
        func add(_ label: String, _ value: String) {
            text += TerminalText.field(label, value, width: 26) + "\n"
        }
        add("Trust domain", relationship.trustDomain)
        add("Bundle endpoint URL", relationship.bundleEndpointURL)
        switch relationship.bundleEndpointProfile {
        case .httpsWeb: add("Bundle endpoint profile", "https_web")
        case .httpsSpiffe(let profile):
            add("Bundle endpoint profile", "https_spiffe")
            add("Endpoint SPIFFE ID", profile.endpointSpiffeID)
        case nil: break
        }
        return text
    }

    /// Prints what became of each relationship of a batch.
    ///
    /// - Parameter asked: what was sent, in the same order.
    /// - Throws: ``CommandError`` when one failed.
    static func report(
        _ action: String,
        _ results: [(Spire_Api_Types_Status, Spire_Api_Types_FederationRelationship)],
        asked: [Spire_Api_Types_FederationRelationship]
    ) throws(CommandError) {
        let context = CommandContext.current
        var failed = results.count < asked.count
        for (index, (status, relationship)) in results.enumerated() {
            if status.code == 0 {
                context.output("\n" + self.text(relationship))
            } else {
                failed = true
                context.errorOutput(
                    "Failed to \(action) the following federation relationship \(EntryBlock.reason(status)):\n"
                        + self.text(asked.indices.contains(index) ? asked[index] : relationship)
                        + "\n")
            }
        }
        if failed {
            throw CommandError("failed to \(action) one or more federation relationships")
        }
    }
}
