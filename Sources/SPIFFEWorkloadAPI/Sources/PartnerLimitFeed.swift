import SPIFFE

/// What a source knows of partners' limits, from the agent's own stream.
///
/// While nothing is known, all limits are unknown and nobody is accepted. A stream that is broken changes nothing, nor does
/// an agent without such a stream that takes the place of one with it: the last known limits stay. Where an agent takes the
/// place of one without the stream and does not answer either way, that there are none is no longer known.
final class PartnerLimitFeed: PartnerLimitSource, Sendable {
    private enum Knowledge: Sendable {
        /// The agent has no such stream, hence no limits.
        case noStream
        case told(ReceivedPartnerLimits)
    }

    private let latest = LatestValue<Knowledge>(withdrawn: .noStream)
    private let observers = RevocationObservers()

    // MARK: Reading

    func partnerLimits(for trustDomain: TrustDomain) -> TrustDomainLimits? {
        switch try? self.latest.current() {
        case nil: .unknown(of: trustDomain)
        case .noStream: nil
        case .told(let received): received.limits(of: trustDomain)
        }
    }

    func observePartnerLimits(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.observers.add(onChange) }

    /// Returns as soon as limits are known, or known not to be there; at once when they are.
    ///
    /// - Throws: After the limit the last failure, or ``WorkloadAPIError`` `deadlineExceeded`; the error that ended the
    ///   run; `CancellationError`.
    func ready(within limit: Duration?) async throws {
        do {
            try await self.latest.ready(within: limit)
        } catch let error as WorkloadAPIError where error.code == .deadlineExceeded {
            throw WorkloadAPIError(
                .deadlineExceeded,
                "the Workload API has not said in time what partners are trusted with")
        }
    }

    // MARK: Writing

    /// Takes a message of the stream; it replaces the one before it whole.
    func update(_ received: ReceivedPartnerLimits) {
        self.latest.update(.told(received))
        self.observers.notify()
    }

    /// Holds nobody against limits: there are none for this program.
    func ignore() { self.latest.update(.noStream) }

    /// Notes a failure that leaves limits that are known in force.
    func report(_ error: WorkloadAPIError) {
        let saysNothing: Set<WorkloadAPIError.Code> = [.notSupported, .unavailable, .stopped]
        if case .noStream? = try? self.latest.current(), !saysNothing.contains(error.code) {
            self.latest.withdraw(error)
        } else {
            self.latest.report(error)
        }
    }

    /// The stream is not opened again for now.
    func gaveUp(_ error: WorkloadAPIError) {
        if error.code == .notSupported, (try? self.latest.current()) == nil {
            self.latest.update(.noStream)
        } else {
            self.report(error)
        }
    }

    /// Knows nothing any more.
    func end(_ error: WorkloadAPIError) { self.latest.end(error) }
}
