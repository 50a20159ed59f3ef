import ControlPlaneProto
import GRPCCore
import ServerCore
import SwiftProtobuf

/// The result of one item of a batch; what fails there fails alone.
protocol BatchItem: SwiftProtobuf.Message {
    var status: Spire_Api_Types_Status { get set }
}

extension BatchItem {
    /// Runs `body` and notes how it went.
    ///
    /// Whatever `body` has set stays; it sets the payload last.
    static func item(_ body: (inout Self) async throws -> Void) async -> Self {
        var result = Self()
        do {
            try await body(&result)
            result.status = itemOK
        } catch let error as ServerError {
            result.status = error.itemStatus
        } catch {
            // Its words stay inside, as with whole calls.
            result.status = ServerError(.internal, "internal error").itemStatus
        }
        return result
    }
}

extension Spire_Api_Server_Trustdomain_V1_BatchCreateFederationRelationshipResponse.Result:
    BatchItem
{}
extension Spire_Api_Server_Trustdomain_V1_BatchUpdateFederationRelationshipResponse.Result:
    BatchItem
{}
extension Spire_Api_Server_Trustdomain_V1_BatchDeleteFederationRelationshipResponse.Result:
    BatchItem
{}
extension Spire_Api_Server_Bundle_V1_BatchCreateFederatedBundleResponse.Result: BatchItem {}
extension Spire_Api_Server_Bundle_V1_BatchUpdateFederatedBundleResponse.Result: BatchItem {}
extension Spire_Api_Server_Bundle_V1_BatchSetFederatedBundleResponse.Result: BatchItem {}
extension Spire_Api_Server_Bundle_V1_BatchDeleteFederatedBundleResponse.Result: BatchItem {}
