import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct FederationStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show how fresh the bundle of each partner is, and what went wrong.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let status = try await ServerConnection.with(self.socket) { server in
            try await server.federation.getStatus(.init(), options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(status) }
        context.print(
            "Found " + TerminalText.counted(status.partners.count, "partner", "partners"))
        for partner in status.partners {
            context.output("\n" + PartnerStatusBlock.text(partner, now: status.serverTime))
        }
        for group in status.groups {
            context.output(
                "\n" + TerminalText.field("Group", group.name, width: 26) + "\n"
                    + TerminalText.field(
                        "Trust domains", group.trustDomains.joined(separator: ", "), width: 26)
                    + "\n")
        }
    }
}

/// The text form of a partner's state.
enum PartnerStatusBlock {
    /// A block of lines.
    ///
    /// - Parameter now: Unix seconds of the server's clock.
    static func text(_ partner: Cygnet_Federation_V1_PartnerStatus, now: Int64) -> String {
        var text = ""
        func add(_ label: String, _ value: String) {
            text += TerminalText.field(label, value, width: 26) + "\n"
        }
        add("Trust domain", partner.trustDomain)
        add("Bundle endpoint URL", partner.bundleEndpointURL)
        add("Bundle endpoint profile", partner.bundleEndpointProfile)
        if !partner.endpointSpiffeID.isEmpty { add("Endpoint SPIFFE ID", partner.endpointSpiffeID) }
        add("Managed by", partner.configured ? "configuration" : "API")
        if partner.hasBundle_p {
            add("Sequence number", String(partner.sequenceNumber))
            add("X.509 authorities", String(partner.x509Authorities))
            add("JWT authorities", String(partner.jwtAuthorities))
            add("Refresh hint", partner.refreshHint > 0 ? "\(partner.refreshHint)s" : "none")
        } else {
            add("Sequence number", "none: there is no bundle yet")
        }
        add("Age", self.age(partner.lastSuccess, now))
        if partner.waiting {
            add("Next attempt", "waiting: the partner answers when its bundle changes")
        } else if partner.nextAttempt > 0 {
            add("Next attempt", "in \(self.duration(max(0, partner.nextAttempt - now)))")
        } else {
            add("Next attempt", "under way")
        }
        if partner.hasRevocations {
            add("Revocations", self.revocations(partner.revocations, now))
            if !partner.revocations.lastError.isEmpty {
                add("Revocations error", partner.revocations.lastError)
            }
        }
        if partner.hasLimits { text += PartnerLimitsBlock.lines(partner.limits) }
        if !partner.groups.isEmpty { add("Groups", partner.groups.joined(separator: ", ")) }
        add("Last error", partner.lastError.isEmpty ? "none" : partner.lastError)
        if partner.failures > 0 { add("Failures in a row", String(partner.failures)) }
        return text
    }

    private static func age(_ lastSuccess: Int64, _ now: Int64) -> String {
        lastSuccess > 0
            ? self.duration(max(0, now - lastSuccess)) : "not confirmed since the server's start"
    }

    /// What lists are at hand, and until when they count.
    private static func revocations(
        _ revocations: Cygnet_Federation_V1_PartnerRevocations, _ now: Int64
    ) -> String {
        var held: [String] = []
        if revocations.crls > 0 {
            held.append(TerminalText.counted(Int(revocations.crls), "CRL", "CRLs"))
        }
        if revocations.statusList { held.append("status list") }
        let lists = held.joined(separator: ", ")
        guard !held.isEmpty else {
            return revocations.published
                ? "no list yet"
                : revocations.lastSuccess > 0 ? "the partner publishes none" : "not known yet"
        }
        guard revocations.nextUpdate > 0 else { return lists }
        guard revocations.nextUpdate > now else {
            return
                "\(lists); STALE for \(self.duration(now - revocations.nextUpdate)): verifiers refuse"
                + " the partner's SVIDs when that is too long"
        }
        let state = "\(lists); good for \(self.duration(revocations.nextUpdate - now))"
        return revocations.published ? state : state + ", the partner publishes none any more"
    }

    private static func duration(_ seconds: Int64) -> String {
        GoDuration.format(.seconds(seconds))
    }
}
