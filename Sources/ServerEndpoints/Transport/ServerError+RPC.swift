import ControlPlaneProto
import GRPCCore
import GRPCProtobuf
import ServerCore
import SwiftProtobuf

/// The one table from the control plane's errors to gRPC status (docs/errors.md).
extension ServerError {
    /// The status that a caller sees. Internal errors lose their text: `reference` leads to the log.
    func rpcError(reference: String) -> any Error {
        let code = self.rpcCode
        if code == .internalError {
            return RPCError(
                code: code,
                message: "internal error; the server log has it under request \(reference)")
        }
        guard let reason = self.agentReason,
            let detail = try? Google_Protobuf_Any(
                message: Spire_Api_Types_PermissionDeniedDetails.with { $0.reason = reason.wire })
        else { return RPCError(code: code, message: self.message) }
        return GoogleRPCStatus(code: code, message: self.message, details: [.any(detail)])
    }

    /// The status of one item of a batch.
    var itemStatus: Spire_Api_Types_Status {
        .with {
            $0.code = Int32(self.rpcCode.rawValue)
            $0.message = self.message
        }
    }

    var rpcCode: RPCError.Code {
        switch self.code {
        case .invalidArgument: .invalidArgument
        case .notFound: .notFound
        case .alreadyExists: .alreadyExists
        case .permissionDenied: .permissionDenied
        case .failedPrecondition: .failedPrecondition
        case .unavailable: .unavailable
        case .unimplemented: .unimplemented
        case .resourceExhausted: .resourceExhausted
        case .unauthenticated: .unauthenticated
        case .internal: .internalError
        }
    }
}

extension ServerError.AgentReason {
    var wire: Spire_Api_Types_PermissionDeniedDetails.Reason {
        switch self {
        case .expired: .agentExpired
        case .notAttested: .agentNotAttested
        case .notActive: .agentNotActive
        case .banned: .agentBanned
        case .mustReattest: .agentMustReattest
        }
    }
}

/// The status of a batch item that went well.
let itemOK = Spire_Api_Types_Status.with {
    $0.code = 0
    $0.message = "OK"
}
