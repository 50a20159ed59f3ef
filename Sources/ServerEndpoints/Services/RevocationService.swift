import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import SwiftProtobuf

/// `cygnet.revocation.v1.Revocations`: taking identities back, for operators.
struct RevocationService: Cygnet_Revocation_V1_Revocations.SimpleServiceProtocol {
    private static let defaultPage = 1_000
    private static let defaultWait = Duration.seconds(10)
    private static let maxWaitMilliseconds: Int32 = 60_000
    private static let maxNamedAgents = 100

    let registry: RevocationRegistry

    func createRevocation(
        request: Cygnet_Revocation_V1_CreateRevocationRequest, context: ServerContext
    ) async throws -> Cygnet_Revocation_V1_CreateRevocationResponse {
        let draft = try Wire.draft(request, trustDomain: self.registry.trustDomain)
        if request.dryRun {
            let hits = try self.registry.hits(of: draft)
            return .with { $0.hits = Wire.message(hits) }
        }
        let caller = try context.call.caller.caller.name
        let (revocation, hits) = try await self.registry.create(draft, caller: caller)
        return .with {
            $0.revocation = Wire.message(revocation)
            $0.hits = Wire.message(hits)
        }
    }

    func liftRevocation(
        request: Cygnet_Revocation_V1_LiftRevocationRequest, context: ServerContext
    ) async throws -> Cygnet_Revocation_V1_LiftRevocationResponse {
        let caller = try context.call.caller.caller.name
        let lifted = try await self.registry.lift(
            Self.id(request.id), reason: request.reason, caller: caller)
        return .with { $0.revocation = Wire.message(lifted) }
    }

    func getRevocation(
        request: Cygnet_Revocation_V1_GetRevocationRequest, context: ServerContext
    ) async throws -> Cygnet_Revocation_V1_Revocation {
        Wire.message(try self.registry.revocation(Self.id(request.id)))
    }

    func listRevocations(
        request: Cygnet_Revocation_V1_ListRevocationsRequest, context: ServerContext
    ) async throws -> Cygnet_Revocation_V1_ListRevocationsResponse {
        guard request.pageSize >= 0 else {
            throw ServerError(
                .invalidArgument, "page size \(request.pageSize) refused: it must not be negative")
        }
        let limit =
            request.pageSize == 0
            ? Self.defaultPage : min(Int(request.pageSize), Self.defaultPage)
        // One more than asked for shows whether there is a further page.
        let found = self.registry.list(
            after: try Wire.pageStart(afterRevocation: request.pageToken), limit: limit + 1)
        let page = found.prefix(limit)
        return .with {
            $0.revocations = page.map { Wire.message($0) }
            if found.count > limit, let last = page.last {
                $0.nextPageToken = Wire.pageToken(after: last)
            }
        }
    }

    func awaitRevocation(
        request: Cygnet_Revocation_V1_AwaitRevocationRequest, context: ServerContext
    ) async throws -> Cygnet_Revocation_V1_AwaitRevocationResponse {
        guard (0...Self.maxWaitMilliseconds).contains(request.timeoutMs) else {
            throw ServerError(
                .invalidArgument,
                "timeout \(request.timeoutMs) ms refused: it must be 0 (default) to \(Self.maxWaitMilliseconds) ms"
            )
        }
        let timeout =
            request.timeoutMs == 0 ? Self.defaultWait : .milliseconds(Int64(request.timeoutMs))
        let result = try await self.registry.await(Self.id(request.id), timeout: timeout)
        return .with {
            $0.agents = Int32(clamping: result.agents)
            $0.confirmed = Int32(clamping: result.confirmed)
            $0.lastConfirmationUs = result.lastConfirmation.map(Self.microseconds) ?? 0
            $0.waitingFor = result.waitingFor.prefix(Self.maxNamedAgents).map(\.string)
        }
    }

    private static func id(_ text: String) throws(ServerError) -> String {
        guard !text.isEmpty else {
            throw ServerError(.invalidArgument, "id is missing; \"revocation list\" shows them")
        }
        return text
    }

    /// At least 1: 0 means that nobody has confirmed.
    private static func microseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        return overflow ? .max : max(1, whole + attoseconds / 1_000_000_000_000)
    }
}
