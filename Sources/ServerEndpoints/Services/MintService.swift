import ControlPlaneProto
import GRPCCore
import NIOHPACK
import SPIFFEGRPC
import ServerCore
import SwiftProtobuf

/// The two calls of the SVID service that operators' tools make by the thousand, served on the event loop of their
/// connection without gRPC's router. The rules are those of ``SVIDService``, the gate is that of all calls.
struct MintService: EventLoopService {
    let name = "spire.api.server.svid.v1.SVID"
    let service: SVIDService
    let gate: CallGate

    func serves(_ method: String) -> Bool { method == "MintX509SVID" || method == "MintJWTSVID" }

    func handler(
        for call: GRPCCall, fields: HPACKHeaders
    ) -> (any GRPCCallHandler)? {
        switch call.method {
        case "MintX509SVID":
            self.unary(call) { try await self.service.mintX509SVID($0, requestedBy: $1) }
        case "MintJWTSVID":
            self.unary(call) { try await self.service.mintJWTSVID($0, requestedBy: $1) }
        default: nil
        }
    }

    private func unary<Request: Message, Response: Message>(
        _ call: GRPCCall,
        _ body: @escaping @Sendable (Request, _ requestedBy: String) async throws -> Response
    ) -> UnaryCallHandler {
        let method = "\(self.name)/\(call.method)"
        return UnaryCallHandler(call) { [gate] bytes, peer in
            try await gate.pass(peer, method: method, request: bytes) { context in
                let request: Request
                do { request = try Request(serializedBytes: bytes) } catch {
                    throw ServerError(.invalidArgument, "request cannot be parsed")
                }
                return try await body(request, context.caller.caller.name).serializedBytes()
            }
        }
    }
}
