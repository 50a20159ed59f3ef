import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct AgentPurgeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge",
        abstract: "Forget agents that expired long ago and could attest again.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(
        name: .go("expiredFor"), parsing: .unconditional,
        help: "How long agents must have been expired.")
    var expiredFor = DurationArgument(.seconds(720 * 3600))

    @Flag(name: .go("dryRun"), help: "Only say which agents would be forgotten.")
    var dryRun = false

    /// What became of one agent.
    struct Outcome: Sendable, Hashable {
        let id: Spire_Api_Types_SPIFFEID
        let deleted: Bool
        let error: String
    }

    func run() async throws {
        let before = GoTime.now - self.expiredFor.duration.components.seconds
        let dryRun = self.dryRun
        let outcomes = try await ServerConnection.with(self.socket) { server in
            var filter = Spire_Api_Server_Agent_V1_ListAgentsRequest.Filter()
            filter.byCanReattest = Google_Protobuf_BoolValue(true)
            let agents = try await AgentListCommand.list(filter, server)
            var outcomes: [Outcome] = []
            for agent in agents where agent.canReattest && agent.x509SvidExpiresAt < before {
                outcomes.append(
                    dryRun
                        ? Outcome(id: agent.id, deleted: false, error: "")
                        : try await AgentPurgeCommand.delete(agent.id, server))
            }
            return outcomes
        }
        let context = CommandContext.current
        if self.output.format == .json {
            return context.print(AgentPurgeCommand.json(outcomes))
        }
        self.printPretty(outcomes, context)
        if outcomes.contains(where: { !$0.error.isEmpty }) {
            throw CommandError("failed to purge one or more agents")
        }
    }

    private static func delete(
        _ id: Spire_Api_Types_SPIFFEID, _ server: ServerConnection
    ) async throws -> Outcome {
        let request = Spire_Api_Server_Agent_V1_DeleteAgentRequest.with { $0.id = id }
        do {
            _ = try await server.agents.deleteAgent(request, options: ServerConnection.options)
            return Outcome(id: id, deleted: true, error: "")
        } catch let error as RPCError where error.code != .unavailable {
            return Outcome(
                id: id, deleted: false,
                error: StatusCodeName.describe(code: error.code.rawValue, message: error.message))
        }
    }

    private func printPretty(_ outcomes: [Outcome], _ context: CommandContext) {
        if outcomes.isEmpty { return context.print("No agents to purge.") }
        context.print(
            "Found " + TerminalText.counted(outcomes.count, "expired agent", "expired agents"))
        func list(_ title: String, _ outcomes: [Outcome]) {
            if outcomes.isEmpty { return }
            context.print("\n\(title):")
            for outcome in outcomes {
                context.print(TerminalText.field("SPIFFE ID", outcome.id.text, width: 18))
                if !outcome.error.isEmpty {
                    context.print(TerminalText.field("Error", outcome.error, width: 18))
                }
            }
        }
        if self.dryRun { return list("Agents that can be purged", outcomes) }
        list("Agents purged", outcomes.filter(\.deleted))
        list("Agents not purged", outcomes.filter { !$0.deleted })
    }

    /// `{"expired_agents":[{"agent_id":…,"deleted":…,"error":…}]}`.
    static func json(_ outcomes: [Outcome]) -> String {
        let items = outcomes.map { outcome in
            "{\"agent_id\":\(JSONLine.text(outcome.id.text)),\"deleted\":\(outcome.deleted),"
                + "\"error\":\(JSONLine.text(outcome.error))}"
        }
        return "{\"expired_agents\":[\(items.joined(separator: ","))]}"
    }
}
