package import Logging
import NIOConcurrencyHelpers
package import PluginAPI
package import SPIFFE

/// What is known about a process, and what it was when that was found out.
package struct AttestedWorkload: Sendable {
    package let fingerprint: ProcessFingerprint
    package let selectors: Set<Selector>
}

/// Turns a connected process into the set of its selectors.
///
/// The result is kept per process (number and start time) for as long as the process is what it
/// was: every call compares the facts a process can change and asks whether it lives. So a number
/// that is used again, an `exec` after connecting, or a change of user never get what was attested
/// before.
package final class WorkloadAttestation: Sendable {
    private struct ProcessKey: Hashable {
        let pid: Int32
        let startTime: UInt64
    }

    private struct Attested {
        let fingerprint: ProcessFingerprint
        let selectors: Set<Selector>
        let at: ContinuousClock.Instant
    }

    private let attestors: [any WorkloadAttestor]
    private let logger: Logger
    private let maximumAge: Duration
    private let capacity: Int
    private let attested = NIOLockedValueBox<[ProcessKey: Attested]>([:])

    /// - Parameters:
    ///   - maximumAge: After this time a process is attested anew, because facts outside it (names
    ///     of users and groups, containers) change too.
    ///   - capacity: How many processes are remembered.
    package init(
        attestors: [any WorkloadAttestor], logger: Logger, maximumAge: Duration = .seconds(30),
        capacity: Int = 4096
    ) {
        self.attestors = attestors
        self.logger = logger
        self.maximumAge = maximumAge
        self.capacity = capacity
    }

    /// What is attested about the process, if that can be said without asking anybody.
    ///
    /// - Throws: ``WorkloadRefusal`` `unavailable` when the process has ended or is not what connected.
    package func known(
        _ process: some ProcessReference
    ) throws(WorkloadRefusal) -> AttestedWorkload? {
        try self.known(process, self.fingerprint(of: process))
    }

    /// What is attested about the process now.
    ///
    /// - Throws: ``WorkloadRefusal`` `unavailable` when the process has ended or changes while it
    ///   is looked at, or when no attestor could say anything.
    package func attest(
        _ process: some ProcessReference
    ) async throws(WorkloadRefusal) -> AttestedWorkload {
        let key = ProcessKey(pid: process.pid, startTime: process.startTime)
        for _ in 0..<3 {
            let before = try self.fingerprint(of: process)
            if let known = self.known(process, before) { return known }
            let (selectors, isComplete) = try await self.ask(process)
            // What was read is about this process and this program only if both are still the same.
            guard let after = process.fingerprint(), process.isAlive, process.isConnector(after)
            else { break }
            if after != before { continue }
            if isComplete {
                self.remember(key, Attested(fingerprint: before, selectors: selectors, at: .now))
            }
            return AttestedWorkload(fingerprint: before, selectors: selectors)
        }
        self.ended(process)
        throw .attestationFailed
    }

    /// What the process is now, provided that it is what connected.
    private func fingerprint(
        of process: some ProcessReference
    ) throws(WorkloadRefusal) -> ProcessFingerprint {
        guard let now = process.fingerprint(), process.isAlive else {
            self.ended(process)
            throw .attestationFailed
        }
        // The socket belongs to the program that connected; whoever else may hold a copy of it,
        // the program that runs now must not vouch for it.
        if !process.isConnector(now) {
            self.logger.warning(
                "caller is not the program or the user that connected",
                metadata: [LogKeys.pid: "\(process.pid)"])
            throw .attestationFailed
        }
        return now
    }

    private func known(
        _ process: some ProcessReference, _ now: ProcessFingerprint
    ) -> AttestedWorkload? {
        let key = ProcessKey(pid: process.pid, startTime: process.startTime)
        guard let known = self.attested.withLockedValue({ $0[key] }), known.fingerprint == now,
            known.at.duration(to: .now) < self.maximumAge
        else { return nil }
        return AttestedWorkload(fingerprint: now, selectors: known.selectors)
    }

    private func ended(_ process: some ProcessReference) {
        let key = ProcessKey(pid: process.pid, startTime: process.startTime)
        self.attested.withLockedValue { $0[key] = nil }
        self.logger.debug(
            "caller ended or changed while it was attested",
            metadata: [LogKeys.pid: "\(process.pid)"])
    }

    /// Asks all attestors at once. `isComplete`: none of them failed.
    private func ask(
        _ process: any ProcessReference
    ) async throws(WorkloadRefusal) -> (Set<Selector>, isComplete: Bool) {
        let results: [(name: String, result: Result<[Selector], any Error>)]
        if self.attestors.count == 1 {
            results = [await Self.ask(self.attestors[0], process)]
        } else {
            results = await withTaskGroup { group in
                for attestor in self.attestors {
                    group.addTask { await Self.ask(attestor, process) }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
        }
        var selectors = Set<Selector>()
        var failures = 0
        for (name, result) in results {
            switch result {
            case .success(let found):
                selectors.formUnion(found)
            case .failure(let error):
                failures += 1
                self.logger.warning(
                    "workload attestor failed",
                    metadata: [
                        LogKeys.attestor: "\(name)", LogKeys.pid: "\(process.pid)",
                        LogKeys.error: "\(error)",
                    ])
            }
        }
        if failures == results.count { throw .attestationFailed }
        return (selectors, failures == 0)
    }

    private static func ask(
        _ attestor: any WorkloadAttestor, _ process: any ProcessReference
    ) async -> (name: String, result: Result<[Selector], any Error>) {
        do {
            return (attestor.name, .success(try await attestor.selectors(of: process)))
        } catch {
            return (attestor.name, .failure(error))
        }
    }

    private func remember(_ key: ProcessKey, _ attested: Attested) {
        self.attested.withLockedValue { known in
            if known.count >= self.capacity, known[key] == nil {
                // Half at a time, oldest first, so that the search is paid for once in many
                // processes.
                let oldest = known.sorted { $0.value.at < $1.value.at }.prefix(self.capacity / 2)
                for (key, _) in oldest { known[key] = nil }
            }
            known[key] = attested
        }
    }
}
