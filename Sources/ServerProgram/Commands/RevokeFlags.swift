import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

/// The flag `-revoke` of commands that end an agent or an entry: what was issued through it ends with it.
///
/// The command acts first and revokes then, so nothing new is issued in between that the revocation would have to
/// find, and a name that does not exist revokes nothing.
struct RevokeFlags: ParsableArguments {
    @Flag(name: .go("revoke"), help: "Also revoke the live SVIDs that were issued through it.")
    var isOn = false

    /// Of an agent that is banned or evicted. Only what it has now is revoked: the ban keeps it out as long as it lasts, and
    /// an evicted agent may attest again.
    func request(
        agent id: Spire_Api_Types_SPIFFEID, reason: String
    ) -> Cygnet_Revocation_V1_CreateRevocationRequest {
        .with {
            $0.target.agentID = id.text
            $0.replace = true
            $0.reason = reason
        }
    }

    /// Of an entry that is deleted: one with the same ID may be made again.
    func request(entryID: String) -> Cygnet_Revocation_V1_CreateRevocationRequest {
        .with {
            $0.target.entryID = entryID
            $0.replace = true
            $0.reason = "entry deleted"
        }
    }

    /// Makes the revocations.
    ///
    /// - Throws: ``CommandError`` that says what has happened already.
    static func create(
        _ requests: [Cygnet_Revocation_V1_CreateRevocationRequest?], _ server: ServerConnection
    ) async throws {
        for case let request? in requests {
            do {
                _ = try await server.revocations.createRevocation(
                    request, options: ServerConnection.options)
            } catch let error as RPCError {
                throw CommandError(
                    "\(request.reason), but its SVIDs are not revoked: "
                        + StatusCodeName.describe(
                            code: error.code.rawValue, message: error.message),
                    hints: ["revoke them: cygnet-server revocation create"])
            }
        }
    }
}
