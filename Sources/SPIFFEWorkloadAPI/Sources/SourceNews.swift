import NIOConcurrencyHelpers
import SPIFFE

/// What a source knows of SVIDs that were taken back, kept fresh beside the stream that the source lives on.
///
/// An agent that has no stream for it is asked again only when the source's own stream has come back: it may be another
/// agent then. Nothing here ever ends a source.
final class SourceRevocations: Sendable {
    let feed: RevocationFeed
    private let onTrouble: @Sendable (WorkloadAPIError) -> Void
    private let isBroken = NIOLockedValueBox(false)
    private let comebacks: Signal
    private let statusLists: Signal

    /// - Parameter onTrouble: Told of each list or message that is not used.
    init(onTrouble: @escaping @Sendable (WorkloadAPIError) -> Void) {
        self.feed = RevocationFeed(onTrouble: onTrouble)
        self.onTrouble = onTrouble
        self.comebacks = Signal()
        self.statusLists = Signal()
    }

    // MARK: The source's own stream

    /// To be called with each good message of the source's stream, before the source hands it out.
    func arrived(_ update: (RevocationFeed) -> Void) {
        update(self.feed)
        let wasBroken = self.isBroken.withLockedValue { isBroken in
            defer { isBroken = false }
            return isBroken
        }
        if wasBroken { self.comebacks.send() }
    }

    /// To be called when the source's stream has failed.
    func broke() { self.isBroken.withLockedValue { $0 = true } }

    /// To be called at the end of the source.
    func end() { self.feed.end() }

    // MARK: The stream of revocations

    /// Runs the body, and beside it the stream of revocations.
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
                        onUpdate: { self.feed.update($0) }, onError: { _ in })
                }
            }
            while !Task.isCancelled {
                do throws(WorkloadAPIError) {
                    try await client.watchRevocations(
                        onUpdate: { received in
                            self.feed.update(received)
                            if received.values.contains(where: { !$0.statusLists.isEmpty }) {
                                self.statusLists.send()
                            }
                        },
                        onError: { if $0.code == .invalidResponse { self.onTrouble($0) } })
                } catch {
                    // Whatever the reason is, asking again at once would not help.
                    guard await self.comebacks.wait() else { return }
                }
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
