import AgentCore
import Foundation
package import NIOHPACK
import SPIFFE
package import SPIFFEGRPC
import SwiftProtobuf
import WorkloadAPIProto

/// `cygnet.workload.v1.Custody`: has on record what a workload did. On the same socket and under the same rules as the
/// Workload API.
package struct CustodyService: EventLoopService {
    static let serviceName = "cygnet.workload.v1.Custody"
    package let name = Self.serviceName
    private let api: WorkloadAPI
    private let announcements = AnnouncementsByLoop()

    package init(_ api: WorkloadAPI) { self.api = api }

    package func handler(
        for call: GRPCCall, fields: HPACKHeaders
    ) -> (any GRPCCallHandler)? {
        WorkloadCallHandler(
            call, of: self.name, fields, api: self.api, announcements: self.announcements)
    }
}

extension WorkloadRequest {
    /// - Throws: ``WorkloadRefusal`` for a message that is malformed, too large or without statement.
    init(record bytes: [UInt8]) throws(WorkloadRefusal) {
        guard let request = try? Cygnet_Workload_V1_RecordCustodyRequest(serializedBytes: bytes)
        else { throw WorkloadAPI.malformed }
        if request.statement.isEmpty {
            throw WorkloadRefusal(.invalidArgument, "statement must be specified")
        }
        self = .record(statement: request.statement, receipt: request.receipt)
    }
}

extension WorkloadAPI {
    /// Hands a statement on to the server, once it is certain that the caller may make it: it is signed with a live
    /// X509-SVID of one of the caller's identities.
    func record(
        _ statement: String, _ receipt: String, _ process: any WorkloadProcess,
        as selectors: Set<Selector>
    ) async throws(WorkloadRefusal) -> WorkloadAnswer {
        // Before any signature is looked at.
        try self.identities.admitStatement(ofUser: process.uid)
        let checked: (statement: SignedCustodyStatement, receipt: CustodyReceipt?)
        do throws(WorkloadRefusal) {
            checked = try await self.checked(statement, receipt, process, as: selectors)
        } catch {
            self.identities.refusedStatement(ofUser: process.uid)
            throw error
        }
        // The receipt's signer may be of a trust domain whose bundle this node has no need of; the server has it.
        try await self.identities.record(checked.statement, receipt: checked.receipt)
        do {
            let answer =
                try Cygnet_Workload_V1_RecordCustodyResponse.with {
                    $0.statementDigest = Data(checked.statement.digest)
                }.serializedBytes() as [UInt8]
            return WorkloadAnswer(bytes: answer, spiffeIDs: [])
        } catch {
            throw WorkloadRefusal(.internal, "response cannot be serialised")
        }
    }

    /// A statement that the caller may make, with its receipt.
    private func checked(
        _ statement: String, _ receipt: String, _ process: any WorkloadProcess,
        as selectors: Set<Selector>
    ) async throws(WorkloadRefusal) -> (SignedCustodyStatement, CustodyReceipt?) {
        let signed: SignedCustodyStatement
        let countersigned: CustodyReceipt?
        do throws(CustodyError) {
            signed = try SignedCustodyStatement(statement)
        } catch {
            throw WorkloadRefusal(.invalidArgument, "statement refused: \(error.message)")
        }
        do throws(CustodyError) {
            countersigned = receipt.isEmpty ? nil : try CustodyReceipt(receipt)
            try countersigned?.check(signed)
        } catch {
            throw WorkloadRefusal(.invalidArgument, "receipt refused: \(error.message)")
        }
        let verifier = CustodyVerifier(bundles: HeldBundles(identities: self.identities))
        do throws(WorkloadRefusal) {
            try self.identities.require(signed.signer, of: selectors)
        } catch {
            // Somebody has another workload's key, or has a statement of it: an operator wants to know.
            if error.code == .noIdentity, (try? await verifier.verify(signed)) != nil {
                self.refusals.recordForeign(signed.signer, process)
            }
            throw error
        }
        do throws(CustodyError) {
            try await verifier.verify(signed)
        } catch {
            throw WorkloadRefusal(.invalidArgument, "statement refused: \(error.message)")
        }
        return (signed, countersigned)
    }
}

/// The bundles that the agent holds.
private struct HeldBundles: X509BundleSource {
    let identities: WorkloadIdentities

    func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        guard let bundle = self.identities.bundle(of: trustDomain), bundle.isForX509 else {
            return nil
        }
        return try? X509Bundle(
            trustDomain: trustDomain, authoritiesDER: bundle.x509Authorities.map(\.der))
    }
}
