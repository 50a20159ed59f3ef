import ControlPlaneProto
import GRPCCore
import ServerCore
import SwiftProtobuf

/// `grpc.health.v1.Health` on the admin socket: serving when the server's own bundle can be read.
struct HealthService: Grpc_Health_V1_Health.SimpleServiceProtocol {
    let directory: Directory

    func check(
        request: Grpc_Health_V1_HealthCheckRequest, context: ServerContext
    ) async throws -> Grpc_Health_V1_HealthCheckResponse {
        try Self.requireEmpty(request.service)
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
        try Self.requireEmpty(request.service)
        try await response.write(self.response)
        // The own bundle never goes away once it is there; the stream ends with the caller.
        try await context.cancellation.cancelled
    }

    private var response: Grpc_Health_V1_HealthCheckResponse {
        .with { $0.status = self.directory.ownBundle == nil ? .notServing : .serving }
    }

    private static func requireEmpty(_ service: String) throws(ServerError) {
        guard service.isEmpty else {
            throw ServerError(
                .invalidArgument, "per-service health is not supported; leave service empty")
        }
    }
}
