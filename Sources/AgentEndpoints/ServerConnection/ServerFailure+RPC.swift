import AgentCore
import ControlPlaneProto
import GRPCCore
import GRPCProtobuf
import SwiftProtobuf

extension ServerFailure {
    /// The one table from what a call threw to what it means for the agent.
    init(_ error: any Error) {
        if let failure = error as? ServerFailure {
            self = failure
            return
        }
        guard let error = error as? RPCError else {
            self.init(.unavailable, "\(error)")
            return
        }
        let text = error.cause.map { "\(error.message) (\($0))" } ?? error.message
        switch error.code {
        case .permissionDenied, .unauthenticated:
            self.init(Self.reason(error), error.message)
        case .invalidArgument, .unimplemented, .failedPrecondition, .outOfRange:
            self.init(.denied, text)
        default:
            self.init(.unavailable, text)
        }
    }

    private static func reason(_ error: RPCError) -> Code {
        guard let status = try? error.unpackGoogleRPCStatus() else { return .denied }
        for detail in status.details {
            guard let any = detail.any,
                let denied = try? Spire_Api_Types_PermissionDeniedDetails(unpackingAny: any)
            else { continue }
            switch denied.reason {
            case .agentExpired: return .agentExpired
            case .agentNotAttested: return .agentNotAttested
            case .agentNotActive: return .agentNotActive
            case .agentBanned: return .agentBanned
            case .agentMustReattest: return .mustReattest
            case .unknown, .UNRECOGNIZED: continue
            }
        }
        return .denied
    }
}
