import NIOConcurrencyHelpers
package import SPIFFE

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Tokens for workloads: those at hand at once, others when the server has signed them.
extension WorkloadIdentities {
    /// The same as ``jwtSVIDs(_:audience:spiffeID:for:)`` if it needs no waiting; nil if it does.
    ///
    /// - Throws: ``WorkloadRefusal``.
    package func heldJWTSVIDs(
        _ selectors: Set<Selector>, audience: [String], spiffeID: SPIFFEID?,
        for process: (any ServedProcess)?
    ) throws(WorkloadRefusal) -> [(entry: AuthorizedEntry, svid: IssuedJWTSVID)]? {
        let entries = try self.entries(selectors, spiffeID: spiffeID)
        if try self.hand(tokensOf: entries, to: process) == .pending { return nil }
        let now = self.now()
        return self.state.withLockedValue { state in
            var tokens: [(entry: AuthorizedEntry, svid: IssuedJWTSVID)] = []
            for entry in entries {
                guard
                    let svid = state.jwt.held(
                        entry, audience: audience, isConnected: state.cache.isConnected, now: now)
                else { return nil }
                tokens.append((entry, svid))
            }
            return tokens
        }
    }

    func entries(
        _ selectors: Set<Selector>, spiffeID: SPIFFEID?
    ) throws(WorkloadRefusal) -> [AuthorizedEntry] {
        let found: Result<[AuthorizedEntry], WorkloadRefusal> = self.state.withLockedValue {
            state in
            do throws(WorkloadRefusal) {
                return .success(try state.cache.identities(selectors))
            } catch {
                return .failure(error)
            }
        }
        let entries = try found.get().filter { spiffeID == nil || $0.spiffeID == spiffeID }
        if entries.isEmpty { throw .noIdentity }
        return entries
    }

    /// Tokens for the workload's identities, in order; only the one for `spiffeID` if given.
    ///
    /// - Parameter process: Whom they are for; nil when they go nowhere.
    /// - Throws: ``WorkloadRefusal``.
    package func jwtSVIDs(
        _ selectors: Set<Selector>, audience: [String], spiffeID: SPIFFEID?,
        for process: (any ServedProcess)?
    ) async throws(WorkloadRefusal) -> [(entry: AuthorizedEntry, svid: IssuedJWTSVID)] {
        let entries = try self.entries(selectors, spiffeID: spiffeID)
        try await self.waitToHand(tokensOf: entries, to: process)
        if entries.count == 1 {
            return [(entries[0], try await self.jwtSVID(entries[0], audience).get())]
        }
        let results = await withTaskGroup(
            of: (Int, Result<IssuedJWTSVID, WorkloadRefusal>).self
        ) { group in
            for (index, entry) in entries.enumerated() {
                group.addTask { (index, await self.jwtSVID(entry, audience)) }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        var tokens: [(entry: AuthorizedEntry, svid: IssuedJWTSVID)] = []
        for (index, entry) in entries.enumerated() {
            guard let result = results[index] else { continue }
            tokens.append((entry, try result.get()))
        }
        return tokens
    }

    private func jwtSVID(
        _ entry: AuthorizedEntry, _ audience: [String]
    ) async -> Result<IssuedJWTSVID, WorkloadRefusal> {
        await withCheckedContinuation { waiter in
            let known: Result<IssuedJWTSVID, WorkloadRefusal>? = self.mutate { state in
                let now = self.now()
                if state.cache.isBlocked(entry.id, now: now) {
                    return (.failure(.noIdentity), SVIDCache.Effects())
                }
                let answer = state.jwt.ask(
                    entry, audience: audience, isConnected: state.cache.isConnected, now: now)
                switch answer {
                case .token(let svid):
                    return (.success(svid), SVIDCache.Effects())
                case .wait(let id, let isNew, let fallback):
                    state.jwtWaiters[id, default: []].append((waiter, fallback))
                    if isNew {
                        state.jwtQueue.append(id)
                        let wait =
                            state.cache.isConnected
                            ? self.settings.jwtTimeout
                            : self.settings.cache.disconnectedAnswerTimeout
                        state.jwtDeadlines.add(id, at: now.addingTimeInterval(wait))
                        state.work?.yield()
                    }
                    return (nil, SVIDCache.Effects())
                }
            }
            if let known { waiter.resume(returning: known) }
        }
    }
}
