package import Foundation
package import SPIFFE
import Transparency

/// Puts statements of workloads about what they did into the ledger.
///
/// What is recorded was verified at that time: the statement is signed with a live X509-SVID of an entry that the agent is
/// authorised for, the receipt with one of the trust domain that its signer is of. Later nobody could tell, because
/// X509-SVIDs end within hours.
///
/// A statement may be recorded more than once: that says the same twice, each time with the time of recording.
package struct CustodyRegistry: Sendable {
    private let directory: Directory
    private let bundles: any X509BundleSource
    private let recorder: any EventRecorder
    private let revocation: @Sendable (_ serial: String) -> Revocation?
    private let now: @Sendable () -> Date

    /// - Parameters:
    ///   - bundles: Of the own trust domain and of partners.
    ///   - revocation: By which an X509-SVID of the own trust domain was taken back.
    package init(
        directory: Directory, bundles: any X509BundleSource, recorder: any EventRecorder,
        revocation: @escaping @Sendable (_ serial: String) -> Revocation?,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.directory = directory
        self.bundles = bundles
        self.recorder = recorder
        self.revocation = revocation
        self.now = now
    }

    /// Verifies a statement and its receipt, and records them.
    ///
    /// - Parameters:
    ///   - statement: Compact JWS.
    ///   - receipt: Compact JWS; empty when there is none.
    ///   - agent: Whose workload made the statement.
    /// - Throws: ``ServerError`` `invalidArgument` when one of the two does not hold, `permissionDenied` when the agent
    ///   has no entry with the signer's ID, `failedPrecondition` when the signer was taken back, `unavailable` when
    ///   the ledger cannot be written.
    package func record(
        statement: String, receipt: String, agent: SPIFFEID
    ) async throws(ServerError) {
        let signed: SignedCustodyStatement
        let verifier = CustodyVerifier(bundles: self.bundles, revocation: .off, now: self.now)
        do throws(CustodyError) {
            signed = try SignedCustodyStatement(statement)
        } catch {
            throw ServerError(.invalidArgument, "statement refused: \(error.message)")
        }
        try self.authorize(signed, agent)
        do throws(CustodyError) {
            try await verifier.verify(signed)
        } catch {
            throw ServerError(.invalidArgument, "statement refused: \(error.message)")
        }
        var countersigned: CustodyReceipt?
        if !receipt.isEmpty {
            do throws(CustodyError) {
                let receipt = try CustodyReceipt(receipt)
                try await verifier.verify(receipt, for: signed)
                countersigned = receipt
            } catch {
                throw ServerError(.invalidArgument, "receipt refused: \(error.message)")
            }
        }
        if let countersigned { try self.admit(countersigned) }
        let event = LeafEvent.custodyRecorded(
            CustodyLeaf(signed, receipt: countersigned, node: agent))
        do {
            try await self.recorder.append([event])
        } catch let error as ServerError {
            throw error
        } catch {
            throw ServerError(.unavailable, "statement not recorded: \(error)")
        }
    }

    /// Whether the agent may speak for the signer, and the signer for itself.
    private func authorize(
        _ statement: SignedCustodyStatement, _ agent: SPIFFEID
    ) throws(ServerError) {
        let signer = statement.signer
        guard signer.trustDomain == self.directory.trustDomain else {
            throw ServerError(.permissionDenied, "\(signer) is not of this trust domain")
        }
        let candidates = self.directory.withEntries { entries in
            var ids: [String] = []
            entries.forEach(spiffePath: signer.path) { ids.append($0.id) }
            return ids
        }
        let authorized = candidates.filter {
            self.directory.authorizedEntry(id: $0, agent: agent) != nil
        }
        guard !authorized.isEmpty else {
            throw ServerError(
                .permissionDenied, "agent \(agent) is not authorised for an entry of \(signer)")
        }
        if let revocation = self.revocation(statement.serial) {
            throw revocation.refusal(of: "X509-SVID of \(signer)")
        }
        let now = Int64(self.now().timeIntervalSince1970)
        let blocking = authorized.map { self.directory.revocation(blockingEntry: $0, now: now) }
        // One entry that is not taken back is enough to be that workload.
        if !blocking.contains(where: { $0 == nil }), let first = blocking.first, let first {
            throw first.refusal(of: "identity \(signer)")
        }
    }

    /// Whether the receipt's signer may be believed beyond its certificates.
    private func admit(_ receipt: CustodyReceipt) throws(ServerError) {
        let signer = receipt.signer
        if signer.trustDomain == self.directory.trustDomain {
            if let revocation = self.revocation(receipt.serial) {
                throw revocation.refusal(of: "X509-SVID of \(signer)")
            }
        } else if let limits = self.directory.limits(signer.trustDomain),
            !limits.accepts(signer, for: .x509)
        {
            throw ServerError(
                .invalidArgument,
                "receipt refused: \(signer) is not accepted of trust domain \(signer.trustDomain)")
        }
    }
}
