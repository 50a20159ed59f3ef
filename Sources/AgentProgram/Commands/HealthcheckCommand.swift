import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime

struct HealthcheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "healthcheck", abstract: "Ask the agent whether it is healthy.",
        helpNames: .goHelp)

    @OptionGroup var socket: AgentSocketFlags

    @Flag(name: .go("shallow"), help: "Has no effect; accepted as SPIRE does.")
    var shallow = false

    @Flag(name: .go("verbose"), help: "Say what is being done.")
    var verbose = false

    func run() async throws {
        let context = CommandContext.current
        if self.verbose { context.print("Checking agent health...") }
        let response: Grpc_Health_V1_HealthCheckResponse
        do {
            response = try await WorkloadConnection.with(self.socket) { agent in
                try await agent.health.check(
                    Grpc_Health_V1_HealthCheckRequest(),
                    options: WorkloadConnection.options(timeout: .seconds(60)))
            }
        } catch let error as CommandError {
            throw CommandError("agent is unhealthy: \(error.message)", hints: error.hints)
        }
        guard response.status == .serving else {
            throw CommandError("agent is unhealthy: it answers \(response.status)")
        }
        context.print("Agent is healthy.")
    }
}
