import ControlPlaneProto
import GRPCCore
import ServerCore
import SwiftProtobuf

/// `grpc.health.v1.Health` on the admin socket: serving when the server's own bundle can be read and the ledger
/// written.
struct HealthService: Grpc_Health_V1_Health.SimpleServiceProtocol {
    /// How long a change of the ledger's state may take to reach those who watch.
    private static let interval = Duration.seconds(1)

    let directory: Directory
    let recorder: any EventRecorder

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
        var told: Grpc_Health_V1_HealthCheckResponse?
        // The stream ends with the caller.
        while !context.cancellation.isCancelled {
            let now = self.response
            if now != told {
                try await response.write(now)
                told = now
            }
            try await Task.sleep(for: Self.interval)
        }
    }

    private var response: Grpc_Health_V1_HealthCheckResponse {
        let isWell = self.directory.ownBundle != nil && self.recorder.health == nil
        return .with { $0.status = isWell ? .serving : .notServing }
    }

    private static func requireEmpty(_ service: String) throws(ServerError) {
        guard service.isEmpty else {
            throw ServerError(
                .invalidArgument, "per-service health is not supported; leave service empty")
        }
    }
}
