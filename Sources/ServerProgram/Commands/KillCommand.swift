import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

/// The kill switch: everything of one identity or swarm ends, and how long that took is measured.
struct KillCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kill",
        abstract:
            "Stop issuance for an identity and all that descends from it, revoke what is live, and wait.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: RevocationTargetFlags

    @Option(name: .go("reason"), parsing: .unconditional, help: "Why, for the record.")
    var reason = ""

    @Option(
        name: .go("timeout"), parsing: .unconditional,
        help: "How long to wait for agents, at most 1m.")
    var timeout = DurationArgument(.seconds(10))

    func run() async throws {
        let request = try self.request()
        let wait = try self.waitMilliseconds()
        let context = CommandContext.current
        let isPretty = self.output.format == .pretty
        let result = try await ServerConnection.with(self.socket) { server in
            let created = try await server.revocations.createRevocation(
                request, options: ServerConnection.options)
            // At once: it is in force whatever becomes of the waiting.
            if isPretty { KillCommand.print(created, context) }
            var options = ServerConnection.options
            options.timeout = .milliseconds(Int64(wait) + 30_000)
            let waited = try await server.revocations.awaitRevocation(
                .with {
                    $0.id = created.revocation.id
                    $0.timeoutMs = wait
                }, options: options)
            return (created, waited)
        }
        if isPretty {
            context.output(KillCommand.text(result.1))
        } else {
            context.print(try KillCommand.json(result.0, result.1))
        }
        let missing = result.1.agents - result.1.confirmed
        if missing > 0 {
            throw CommandError(
                "\(missing) of \(TerminalText.counted(Int(result.1.agents), "agent", "agents")) did not confirm in "
                    + "time; the revocation is in force",
                hints: [
                    "an agent that is cut off is refused when it comes back; its node can be taken off the network"
                ])
        }
    }

    /// The revocation that is made.
    func request() throws(CommandError) -> Cygnet_Revocation_V1_CreateRevocationRequest {
        var request = Cygnet_Revocation_V1_CreateRevocationRequest()
        request.target = try RevocationTargetFlags.one(
            try self.target.targets(),
            of: "-spiffeID, -pathPrefix, -entryID, -selector, -agentID")
        request.andChildren = true
        request.reason = self.reason
        return request
    }

    /// The time to wait, as the call takes it.
    func waitMilliseconds() throws(CommandError) -> Int32 {
        let duration = self.timeout.duration
        guard duration >= .milliseconds(1), duration <= .seconds(60) else {
            throw CommandError(
                "-timeout \(GoDuration.format(duration)) refused: it must be 1ms to 1m")
        }
        let (seconds, attoseconds) = duration.components
        return Int32(clamping: seconds * 1_000 + attoseconds / 1_000_000_000_000_000)
    }

    private static func print(
        _ created: Cygnet_Revocation_V1_CreateRevocationResponse, _ context: CommandContext
    ) {
        context.print("Revocation is in force\n")
        context.output(RevocationBlock.text(created.revocation))
        context.print("\nIt hit:\n")
        context.output(RevocationBlock.text(created.hits))
    }

    /// How long it took, and who is missing.
    static func text(_ waited: Cygnet_Revocation_V1_AwaitRevocationResponse) -> String {
        var text = "\n"
        if waited.agents == 0 {
            text += "No agent is connected\n"
        } else {
            text +=
                "Confirmed by \(waited.confirmed) of "
                + TerminalText.counted(Int(waited.agents), "connected agent", "connected agents")
            if waited.lastConfirmationUs > 0 {
                text +=
                    ", the last one after "
                    + GoDuration.format(.microseconds(waited.lastConfirmationUs))
            }
            text += "\n"
        }
        for id in waited.waitingFor {
            text += TerminalText.field("Not confirmed by", id, width: 18) + "\n"
        }
        let more = Int(waited.agents - waited.confirmed) - waited.waitingFor.count
        if more > 0 {
            text += TerminalText.field("Not confirmed by", "… and \(more) more", width: 18) + "\n"
        }
        return text
    }

    /// Both answers on one line.
    static func json(
        _ created: Cygnet_Revocation_V1_CreateRevocationResponse,
        _ waited: Cygnet_Revocation_V1_AwaitRevocationResponse
    ) throws -> String {
        "{\"created\":\(try CommandContext.json(created)),\"awaited\":\(try CommandContext.json(waited))}"
    }
}
