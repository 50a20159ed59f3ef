import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime

struct HealthcheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "healthcheck", abstract: "Ask the server whether it is healthy.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags

    @Flag(name: .go("shallow"), help: "Has no effect; accepted as SPIRE does.")
    var shallow = false

    @Flag(name: .go("verbose"), help: "Say what is being done.")
    var verbose = false

    func run() async throws {
        let context = CommandContext.current
        if self.verbose { context.print("Checking server health...") }
        let response: Grpc_Health_V1_HealthCheckResponse
        do {
            response = try await ServerConnection.with(self.socket) { server in
                try await server.health.check(
                    Grpc_Health_V1_HealthCheckRequest(), options: ServerConnection.options)
            }
        } catch let error as CommandError {
            throw CommandError("server is unhealthy: \(error.message)", hints: error.hints)
        }
        guard response.status == .serving else {
            throw CommandError("server is unhealthy: it answers \(response.status)")
        }
        context.print("Server is healthy.")
    }
}
