import AgentCore
import ControlPlaneProto
import GRPCCore
import SwiftProtobuf

/// `grpc.health.v1.Health` on the public socket: serving once the agent knows its entries.
struct AgentHealthService: Grpc_Health_V1_Health.SimpleServiceProtocol {
    let identities: WorkloadIdentities

    func check(
        request: Grpc_Health_V1_HealthCheckRequest, context: ServerContext
    ) async throws -> Grpc_Health_V1_HealthCheckResponse {
        try Self.requireKnown(request.service)
        return self.response
    }

    func list(
        request: Grpc_Health_V1_HealthListRequest, context: ServerContext
    ) async throws -> Grpc_Health_V1_HealthListResponse {
        .with { $0.statuses = ["": self.response] }
    }

    func watch(
        request: Grpc_Health_V1_HealthCheckRequest,
        response: RPCWriter<Grpc_Health_V1_HealthCheckResponse>, context: ServerContext
    ) async throws {
        try Self.requireKnown(request.service)
        var last: Grpc_Health_V1_HealthCheckResponse?
        while !context.cancellation.isCancelled {
            let now = self.response
            if now != last { try await response.write(now) }
            last = now
            // Watchers of this service are rare; ends with the call, because writing or sleeping
            // then throws.
            try await Task.sleep(for: .seconds(1))
        }
    }

    private var response: Grpc_Health_V1_HealthCheckResponse {
        .with { $0.status = self.identities.isSynchronised ? .serving : .notServing }
    }

    private static func requireKnown(_ service: String) throws {
        if service.isEmpty || service == "SpiffeWorkloadAPI" { return }
        throw RPCError(code: .notFound, message: "unknown service; leave service empty")
    }
}
