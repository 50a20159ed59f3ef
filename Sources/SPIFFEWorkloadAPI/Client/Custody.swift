import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
public import SPIFFE
import SwiftProtobuf
import WorkloadAPIProto

/// Puts what this workload did into the ledger of its server, signed by itself.
///
/// Sign a `CustodyStatement` with the SVID of an ``X509Source``, let the peer countersign it where there is one, and record both before
/// you act: docs/custody.md.
///
/// An extension of the Workload API that Cygnet's agents offer when their server keeps a ledger.
public struct Custody: Sendable {
    private let client: WorkloadAPIClient

    /// - Parameter client: A client whose connection runs.
    public init(_ client: WorkloadAPIClient) { self.client = client }

    /// Records a statement and, where the peer took part, its receipt. When this returns, both are in the ledger for good.
    ///
    /// The call may be repeated after any failure: a statement that is recorded twice says the same twice.
    ///
    /// - Parameters:
    ///   - statement: Signed with a live X509-SVID of this process.
    ///   - receipt: By the peer that the statement names.
    /// - Throws: ``WorkloadAPIError``: `notSupported` when there is no ledger, `invalidRequest` when agent or server refuse
    ///   one of the two, `noIdentity` when the signer is none of the identities of this process or was taken back,
    ///   `unavailable` when it cannot be recorded now or too much was recorded lately.
    public func record(
        _ statement: SignedCustodyStatement, receipt: CustodyReceipt? = nil
    ) async throws(WorkloadAPIError) {
        let request = Cygnet_Workload_V1_RecordCustodyRequest.with {
            $0.statement = statement.token
            $0.receipt = receipt?.token ?? ""
        }
        let response = try await self.client.call("Record") { _, options in
            try await self.client.custodyAPI.record(request, options: options)
        }
        guard response.statementDigest == Data(statement.digest) else {
            throw WorkloadAPIError(message: "RecordCustodyResponse is for another statement")
        }
    }
}
