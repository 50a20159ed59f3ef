import NIOConcurrencyHelpers
import SPIFFE

/// What a source hears from agents of Cygnet beside the stream that it lives on: SVIDs that were taken back, and what
/// partners are trusted with.
///
/// An agent that has no such stream is asked again only when the source's own stream has come back: it may be another
/// agent then. Nothing here ever ends a source.
final class SourceNews: Sendable {
    /// What has become of the source's own stream.
    private struct Stream {
        var hasArrived = false
        var isBroken = false
    }

    let revocations: RevocationFeed
    let limits = PartnerLimitFeed()
    private let onTrouble: @Sendable (WorkloadAPIError) -> Void
    private let stream = NIOLockedValueBox(Stream())
    private let revocationComebacks = Signal()
    private let limitCalls = Signal()
    private let statusLists = Signal()

    /// - Parameter onTrouble: Told of each list or message that is not used.
    init(onTrouble: @escaping @Sendable (WorkloadAPIError) -> Void) {
        self.revocations = RevocationFeed(onTrouble: onTrouble)
        self.onTrouble = onTrouble
    }

    // MARK: The source's own stream

    /// To be called with each good message of the source's stream.
    ///
    /// - Parameters:
    ///   - update: Takes what the message says of revocations.
    ///   - handOut: Gives the message to the source's readers, after that.
    func arrived(_ update: (RevocationFeed) -> Void = { _ in }, handOut: () -> Void) {
        update(self.revocations)
        handOut()
        let before = self.stream.withLockedValue { stream in
            defer { stream = Stream(hasArrived: true) }
            return stream
        }
        if before.isBroken { self.revocationComebacks.send() }
        if before.isBroken || !before.hasArrived { self.limitCalls.send() }
    }

    /// To be called when the source's stream has failed.
    func broke() { self.stream.withLockedValue { $0.isBroken = true } }

    /// To be called at the end of the source.
    func end(_ error: WorkloadAPIError) {
        self.revocations.end()
        self.limits.end(error)
    }

    // MARK: Waiting

    /// Returns as soon as the source is ready and limits are known.
    ///
    /// Revocations are not waited for: without them an SVID counts as long as it would anyway, but without limits a
    /// partner's identities would count that never should.
    ///
    /// - Parameters:
    ///   - limit: How long to wait in all; nil for as long as it takes.
    ///   - source: Waits for the source itself, for as long as it is told.
    func ready(
        within limit: Duration?, after source: (Duration?) async throws -> Void
    ) async throws {
        let clock = ContinuousClock()
        let start = clock.now
        try await source(limit)
        try await self.limits.ready(within: limit.map { max(.zero, $0 - (clock.now - start)) })
    }

    // MARK: The other streams

    /// Runs the body, and beside it the other streams.
    func whileWatching(
        _ client: WorkloadAPIClient, _ body: () async throws(WorkloadAPIError) -> Void
    ) async throws(WorkloadAPIError) {
        let outcome = await withTaskGroup(of: Void.self) {
            group -> Result<Void, WorkloadAPIError> in
            group.addTask { await self.watch(client) }
            defer { group.cancelAll() }
            do throws(WorkloadAPIError) {
                try await body()
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try outcome.get()
    }

    /// Runs until the task is cancelled.
    ///
    /// - Parameter fetchesJWTBundles: Whether to fetch the keys of status lists, once there are such lists.
    func watch(_ client: WorkloadAPIClient, fetchesJWTBundles: Bool = false) async {
        await withTaskGroup(of: Void.self) { group in
            if fetchesJWTBundles {
                group.addTask {
                    guard await self.statusLists.wait() else { return }
                    // Without them status lists are not believed, and nothing else changes.
                    try? await client.watchJWTBundles(
                        onUpdate: { self.revocations.update($0) }, onError: { _ in })
                }
            }
            group.addTask { await self.watchLimits(client) }
            await self.watchRevocations(client)
        }
    }

    private func watchRevocations(_ client: WorkloadAPIClient) async {
        while !Task.isCancelled {
            do throws(WorkloadAPIError) {
                try await client.watchRevocations(
                    onUpdate: { received in
                        self.revocations.update(received)
                        if received.values.contains(where: { !$0.statusLists.isEmpty }) {
                            self.statusLists.send()
                        }
                    },
                    onError: { error in
                        guard error.code == .invalidResponse else { return }
                        self.revocations.couldNotUseState()
                        self.onTrouble(error)
                    })
            } catch {
                // A message that cannot be read looks like a request that is refused.
                if error.code == .invalidRequest {
                    self.revocations.couldNotUseState()
                    self.onTrouble(error)
                    try? await Task.sleep(for: client.configuration.longestBackOff)
                    continue
                }
                // Whatever the reason is, asking again at once would not help.
                guard await self.revocationComebacks.wait() else { return }
            }
        }
    }

    /// Opens the stream when the source's own one is there, and anew when that one has come back: a source that waits to
    /// be ready would else wait for two back-offs.
    private func watchLimits(_ client: WorkloadAPIClient) async {
        guard client.configuration.partnerLimits == .required else { return self.limits.ignore() }
        guard await self.limitCalls.wait() else { return }
        while !Task.isCancelled {
            await withTaskGroup(of: Bool.self) { group in
                group.addTask {
                    await self.holdLimits(client)
                    return false
                }
                group.addTask { await self.limitCalls.wait() }
                // Where the stream was given up, the next call is waited for all the same.
                while let isCalled = await group.next(), !isCalled {}
                group.cancelAll()
            }
        }
    }

    private func holdLimits(_ client: WorkloadAPIClient) async {
        while !Task.isCancelled {
            do throws(WorkloadAPIError) {
                try await client.watchPartnerLimits(
                    onUpdate: { received in
                        self.limits.update(received)
                        if let problem = received.problem { self.onTrouble(problem) }
                    },
                    onError: { error in
                        self.limits.report(error)
                        if error.code == .invalidResponse { self.onTrouble(error) }
                    })
                return
            } catch {
                self.limits.gaveUp(error)
                // A message that cannot be read looks like a request that is refused.
                guard error.code == .invalidRequest else { return }
                self.onTrouble(error)
                try? await Task.sleep(for: client.configuration.longestBackOff)
            }
        }
    }
}

/// Something that has happened, for one waiter; twice before it looks is once.
private struct Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() {
        (self.stream, self.continuation) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    func send() { self.continuation.yield() }

    /// - Returns: false when the task was cancelled.
    func wait() async -> Bool {
        for await _ in self.stream { return true }
        return false
    }
}
