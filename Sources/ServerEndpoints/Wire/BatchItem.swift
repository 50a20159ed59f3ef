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

    /// Tells how it went.
    ///
    /// - Parameter fill: sets the payload.
    static func item<Value>(
        _ result: Result<Value, ServerError>, _ fill: (inout Self, Value) -> Void
    ) -> Self {
        var item = Self()
        switch result {
        case .success(let value):
            item.status = itemOK
            fill(&item, value)
        case .failure(let error):
            item.status = error.itemStatus
        }
        return item
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
extension Spire_Api_Server_Svid_V1_BatchNewX509SVIDResponse.Result: BatchItem {}
extension Spire_Api_Server_Svid_V1_BatchNewWITSVIDResponse.Result: BatchItem {}
extension Cygnet_Sync_V1_SignX509Result: BatchItem {}
extension Cygnet_Sync_V1_SignJWTResult: BatchItem {}
extension Cygnet_Sync_V1_SignWITResult: BatchItem {}
