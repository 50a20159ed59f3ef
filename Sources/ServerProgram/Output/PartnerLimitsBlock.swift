import ControlPlaneProto
import ServiceRuntime

/// The text form of what a partner is trusted with.
enum PartnerLimitsBlock {
    /// A block of lines.
    static func text(_ limits: Cygnet_Federation_V1_PartnerLimits) -> String {
        self.field("Trust domain", limits.trustDomain)
            + self.field("Managed by", limits.configured ? "configuration" : "API")
            + self.lines(limits)
    }

    /// The lines without the partner's name.
    static func lines(_ limits: Cygnet_Federation_V1_PartnerLimits) -> String {
        let patterns = limits.acceptedPaths.patterns
        let paths =
            limits.hasAcceptedPaths
            ? (patterns.isEmpty ? "none" : patterns.joined(separator: ", ")) : "all"
        return self.field("Accepted paths", paths)
            + self.field(
                "Uses",
                (limits.uses.isEmpty ? ["x509", "jwt"] : limits.uses).joined(separator: ", "))
    }

    private static func field(_ label: String, _ value: String) -> String {
        TerminalText.field(label, value, width: 26) + "\n"
    }
}
