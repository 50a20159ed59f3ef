package import SPIFFE

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Statements of workloads about what they did: the agent hands them on, and waits for the server's word.
extension WorkloadIdentities {
    /// To be called before a statement is looked at.
    ///
    /// - Parameter user: whose process has sent it.
    /// - Throws: ``WorkloadRefusal`` `exhausted` when the user's processes have sent too many lately.
    package func admitStatement(ofUser user: UInt32) throws(WorkloadRefusal) {
        let isAdmitted = self.mutate { state in
            (state.custodyAttempts.takes(user: user, now: self.now()), SVIDCache.Effects())
        }
        if !isAdmitted { throw .tooManyAttempts }
    }

    /// A statement that was looked at does not hold, or is not the caller's.
    package func refusedStatement(ofUser user: UInt32) {
        self.mutate { state in
            state.custodyAttempts.failed(user: user, now: self.now())
            return ((), SVIDCache.Effects())
        }
    }

    /// Has a statement recorded. Whose it is, and that the certificates in it are good, must have been checked.
    ///
    /// - Throws: ``WorkloadRefusal``: `unimplemented` when the server keeps no ledger, `unavailable` when it cannot be
    ///   asked now or the signer has sent too many, else what the server says.
    package func record(
        _ statement: SignedCustodyStatement, receipt: CustodyReceipt?
    ) async throws(WorkloadRefusal) {
        let result: Result<Void, WorkloadRefusal> = await withCheckedContinuation { waiter in
            let refusal = self.mutate { state -> (WorkloadRefusal?, SVIDCache.Effects) in
                let now = self.now()
                if state.isStopped { return (.shuttingDown, SVIDCache.Effects()) }
                if let refusal = state.custody.refusal(of: statement.signer, now: now) {
                    return (refusal, SVIDCache.Effects())
                }
                state.custody.add(
                    CustodyRequests.Request(statement: statement, receipt: receipt, waiter: waiter),
                    until: now.addingTimeInterval(self.settings.jwtTimeout))
                state.work?.yield()
                return (nil, SVIDCache.Effects())
            }
            if let refusal { waiter.resume(returning: .failure(refusal)) }
        }
        try result.get()
    }

    /// Whether the workload has that identity.
    ///
    /// - Throws: ``WorkloadRefusal`` `noIdentity` when it has not.
    package func require(
        _ spiffeID: SPIFFEID, of selectors: Set<Selector>
    ) throws(WorkloadRefusal) {
        _ = try self.entries(selectors, spiffeID: spiffeID)
    }

    func receiveCustody(_ requestID: UInt64, _ result: Result<Void, IssuanceRefusal>) {
        self.mutate { state in
            state.custody.answer(requestID, result.mapError { Self.custodyRefusal($0) })
            return ((), SVIDCache.Effects())
        }
    }

    /// What a workload is told of the server's answer, by its gRPC code.
    private static func custodyRefusal(_ refusal: IssuanceRefusal) -> WorkloadRefusal {
        let code: WorkloadRefusal.Code =
            switch refusal.code {
            case 3: .invalidArgument
            // Not found, permission denied, failed precondition.
            case 5, 7, 9: .noIdentity
            case 8, 14: .unavailable
            case 12: .unimplemented
            default: .internal
            }
        return WorkloadRefusal(code, refusal.message)
    }
}
