package import SPIFFE

/// The end of workloads, as agents report it.
extension RevocationRegistry {
    /// The reason of the revocations that are made here.
    package static let processEnded = "process ended"

    /// Revokes what an agent has obtained for an entry: the last process on its node that it had served with that has
    /// ended. Fresh SVIDs are issued from then on, as after a replacement.
    ///
    /// Telling it again does no harm and leaves no trace: where nothing is live that is not revoked for good, nothing is
    /// made. So there are never more of these revocations than live SVIDs.
    ///
    /// - Returns: the revocation; nil when there was nothing to revoke. It may not be recorded yet, and is in force then
    ///   all the same; the agent need not know.
    /// - Throws: ``ServerError`` `notFound` when the agent is not authorised for the entry, or there is none;
    ///   `failedPrecondition` when the entry does not ask for this; `unavailable` when the store cannot be written.
    @discardableResult
    package func workloadEnded(entryID: String, agent: SPIFFEID) async throws -> Revocation? {
        guard let entry = self.directory.authorizedEntry(id: entryID, agent: agent) else {
            throw ServerError(
                .notFound,
                "entry \(quoted(entryID)) is unknown, or agent \(agent) has no part in it"
            )
        }
        guard entry.revokesOnExit else {
            throw ServerError(
                .failedPrecondition,
                "entry \(quoted(entryID)) does not have its SVIDs revoked when processes end")
        }
        var draft = Draft(.workload(entryID: entry.id, agent: agent))
        draft.isReplacement = true
        draft.reason = Self.processEnded
        return try await self.alone(draft.target) {
            guard self.admission.hitsAnythingNew(try self.checked(draft, caller: "")) else {
                return nil
            }
            return try await self.commit(draft, caller: agent.string).revocation
        }
    }

    /// What handling an agent's report about the entry costs, in units of a thousand live SVIDs that may have to be looked
    /// at; little when it is none of the agent's.
    package func costOfEnd(entryID: String, agent: SPIFFEID) -> Int {
        guard self.directory.authorizedEntry(id: entryID, agent: agent) != nil else { return 1 }
        return 1 + self.admission.liveCount(ofEntry: entryID) / 1_000
    }
}
