import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

/// Says what is published, and fails as often as it was told.
private final class RecordingPublisher: BundlePublisher {
    let name: String
    let destination = "nowhere"
    let published: AsyncStream<UInt64>
    private let continuation: AsyncStream<UInt64>.Continuation
    private let failuresLeft: NIOLockedValueBox<Int>
    private let blocks: Bool

    init(_ name: String, failures: Int = 0, blocks: Bool = false) {
        self.name = name
        (self.published, self.continuation) = AsyncStream.makeStream()
        self.failuresLeft = NIOLockedValueBox(failures)
        self.blocks = blocks
    }

    func publish(_ bundle: SPIFFEBundle) async throws {
        if self.blocks { try await Task.sleep(for: .seconds(86_400)) }
        let fails = self.failuresLeft.withLockedValue { left in
            defer { left = max(0, left - 1) }
            return left > 0
        }
        if fails { throw BundlePublisherError(.unreachable, "nobody there") }
        self.continuation.yield(bundle.sequenceNumber ?? 0)
    }
}

@Suite struct BundlePublishingTests {
    private func change(_ plane: TestPlane) async throws -> UInt64 {
        try await plane.store.updateBundle(plane.trustDomain) { $0.refreshHint += 1 }
            .sequenceNumber
    }

    /// Runs the rule beside the body.
    private func run(
        _ publishing: BundlePublishing, _ body: () async throws -> Void
    ) async throws {
        let task = Task { try await publishing.run() }
        do {
            try await body()
        } catch {
            task.cancel()
            throw error
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func publishesAtStartAndAfterEachChangeWhileAnotherPublisherHangs() async throws {
        let plane = try await TestPlane()
        let hung = RecordingPublisher("hung", blocks: true)
        let good = RecordingPublisher("good")
        let publishing = BundlePublishing(
            publishers: [hung, good], directory: plane.directory, logger: TestPlane.logger,
            now: plane.clock.now)
        try await self.run(publishing) {
            var published = good.published.makeAsyncIterator()
            #expect(await published.next() == plane.directory.ownBundle?.sequenceNumber)
            let next = try await self.change(plane)
            #expect(await published.next() == next)
            // A partner's bundle is none of ours.
            _ = try await plane.store.updateBundle(TrustDomain("partner.test")) {
                $0.refreshHint = 5
            }
            let last = try await self.change(plane)
            #expect(await published.next() == last)
        }
    }

    @Test func triesAgainWithGrowingWaits() async throws {
        let plane = try await TestPlane()
        let publisher = RecordingPublisher("flaky", failures: 8)
        let waits = NIOLockedValueBox<[Duration]>([])
        let publishing = BundlePublishing(
            publishers: [publisher], directory: plane.directory, logger: TestPlane.logger,
            now: plane.clock.now, sleep: { wait in waits.withLockedValue { $0.append(wait) } })
        try await self.run(publishing) {
            var published = publisher.published.makeAsyncIterator()
            #expect(await published.next() == plane.directory.ownBundle?.sequenceNumber)
        }
        #expect(waits.withLockedValue { $0 } == [1, 2, 4, 8, 16, 30, 30, 30].map { .seconds($0) })
    }

    @Test func aChangeEndsTheWait() async throws {
        let plane = try await TestPlane()
        let publisher = RecordingPublisher("flaky", failures: 1)
        let (waiting, bell) = AsyncStream<Void>.makeStream()
        let publishing = BundlePublishing(
            publishers: [publisher], directory: plane.directory, logger: TestPlane.logger,
            now: plane.clock.now,
            sleep: { _ in
                bell.yield()
                try await Task.sleep(for: .seconds(86_400))
            })
        try await self.run(publishing) {
            var waits = waiting.makeAsyncIterator()
            _ = await waits.next()
            let failed = try #require(publishing.statuses.first)
            #expect(failed.failures == 1 && failed.lastError == "nobody there")
            #expect(failed.sequenceNumber == nil && failed.publishedAt == nil)
            let next = try await self.change(plane)
            var published = publisher.published.makeAsyncIterator()
            #expect(await published.next() == next)
        }
    }

    @Test func saysHowPublishersAreDoing() async throws {
        let plane = try await TestPlane()
        let publisher = RecordingPublisher("good")
        let publishing = BundlePublishing(
            publishers: [publisher], directory: plane.directory, logger: TestPlane.logger,
            now: plane.clock.now)
        #expect(publishing.statuses.first?.sequenceNumber == nil)
        try await self.run(publishing) {
            var published = publisher.published.makeAsyncIterator()
            _ = await published.next()
            let second = try await self.change(plane)
            // The status of the first publication is set before the second begins.
            #expect(await published.next() == second)
            let status = try #require(publishing.statuses.first)
            #expect(status.sequenceNumber != nil && status.publishedAt == plane.clock.now())
            #expect(status.failures == 0 && status.lastError == nil)
        }
    }

    @Test func waitsForCancellationWithoutPublishers() async throws {
        let plane = try await TestPlane()
        let publishing = BundlePublishing(
            publishers: [], directory: plane.directory, logger: TestPlane.logger)
        try await self.run(publishing) {}
    }

    @Test func theStoredBundleIsPublishedWhole() async throws {
        let plane = try await TestPlane()
        let stored = try #require(plane.directory.ownBundle)
        let bundle = try stored.published()
        #expect(bundle.x509Authorities == stored.x509Authorities.map(\.der))
        #expect(bundle.jwtAuthorities.map(\.keyID) == stored.jwtAuthorities.map(\.keyID))
        #expect(bundle.sequenceNumber == stored.sequenceNumber)
        #expect(bundle.refreshHint == .seconds(300))
    }
}
