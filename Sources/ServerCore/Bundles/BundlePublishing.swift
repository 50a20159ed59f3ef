package import Foundation
package import Logging
import NIOConcurrencyHelpers
package import PluginAPI
import SPIFFE

/// Keeps the trust domain's bundle published: at start, and after each change.
///
/// Each publisher has a task of its own, so none waits for another. What fails is tried again, after a second,
/// then two, four and so on up to half a minute; a change of the bundle ends the wait. Of several changes during
/// one publication only the last is published.
package final class BundlePublishing: Sendable {
    /// How one publisher is doing.
    package struct Status: Sendable, Equatable {
        /// The plugin's name.
        package let name: String
        package let destination: String
        /// The sequence number of what is published; nil before the first success since start.
        package fileprivate(set) var sequenceNumber: UInt64?
        /// When it was published, UTC.
        package fileprivate(set) var publishedAt: Date?
        /// Why the last attempt failed; nil when it did not.
        package fileprivate(set) var lastError: String?
        /// Failed attempts since the last success.
        package fileprivate(set) var failures = 0
    }

    private let publishers: [any BundlePublisher]
    private let directory: Directory
    private let logger: Logger
    private let now: @Sendable () -> Date
    private let sleep: @Sendable (Duration) async throws -> Void
    private let state: NIOLockedValueBox<[Status]>
    private let bells = NIOLockedValueBox<[AsyncStream<Void>.Continuation]>([])

    package init(
        publishers: [any BundlePublisher], directory: Directory, logger: Logger,
        now: @escaping @Sendable () -> Date = { Date() },
        sleep: @escaping @Sendable (Duration) async throws -> Void = {
            try await Task.sleep(for: $0)
        }
    ) {
        self.publishers = publishers
        self.directory = directory
        self.logger = logger
        self.now = now
        self.sleep = sleep
        self.state = NIOLockedValueBox(
            publishers.map { Status(name: $0.name, destination: $0.destination) })
        let (trustDomain, bells) = (directory.trustDomain, self.bells)
        directory.onBundleChange { bundle in
            guard bundle.trustDomain == trustDomain else { return }
            for bell in bells.withLockedValue({ $0 }) { bell.yield() }
        }
    }

    /// One for each publisher, in the order of the configuration.
    package var statuses: [Status] { self.state.withLockedValue { $0 } }

    /// Publishes until cancelled. Call it once.
    ///
    /// - Throws: `CancellationError`.
    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in self.publishers.indices {
                group.addTask { try await self.publish(index) }
            }
            // Without publishers there is nothing to do, and the caller waits for whoever ends first.
            if self.publishers.isEmpty {
                group.addTask { while true { try await Task.sleep(for: .seconds(86_400)) } }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// The wait after that many failures in a row.
    package static func delay(afterFailures failures: Int) -> Duration {
        .seconds(min(30, 1 << min(max(failures, 1) - 1, 5)))
    }

    private func publish(_ index: Int) async throws {
        let (changes, bell) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        self.bells.withLockedValue { $0.append(bell) }
        var wakeUps = changes.makeAsyncIterator()
        var published: TrustBundle?
        var failures = 0
        while true {
            if let bundle = self.directory.ownBundle, bundle != published {
                do {
                    try await self.publishers[index].publish(bundle.published())
                    published = bundle
                    failures = 0
                    self.succeeded(index, bundle.sequenceNumber)
                } catch {
                    try Task.checkCancellation()
                    failures = min(failures + 1, 1_000_000)
                    self.failed(index, error, failures)
                }
            } else {
                failures = 0
            }
            let timer = failures > 0 ? self.ring(bell, after: failures) : nil
            defer { timer?.cancel() }
            // The stream ends with the task.
            guard await wakeUps.next() != nil else { throw CancellationError() }
        }
    }

    /// Ends with the wait that it was started for: the caller cancels it.
    private func ring(
        _ bell: AsyncStream<Void>.Continuation, after failures: Int
    ) -> Task<Void, Never> {
        let (sleep, delay) = (self.sleep, Self.delay(afterFailures: failures))
        return Task {
            guard (try? await sleep(delay)) != nil else { return }
            bell.yield()
        }
    }

    private func succeeded(_ index: Int, _ sequenceNumber: UInt64) {
        let now = self.now()
        let status = self.state.withLockedValue { state in
            state[index].sequenceNumber = sequenceNumber
            state[index].publishedAt = now
            state[index].lastError = nil
            state[index].failures = 0
            return state[index]
        }
        self.logger.info("bundle published", metadata: self.metadata(status))
    }

    private func failed(_ index: Int, _ error: any Error, _ failures: Int) {
        let status = self.state.withLockedValue { state in
            state[index].lastError = "\(error)"
            state[index].failures = failures
            return state[index]
        }
        var metadata = self.metadata(status)
        metadata[LogKeys.error] = "\(error)"
        metadata["failures"] = "\(failures)"
        metadata["retry_in"] = "\(Self.delay(afterFailures: failures).components.seconds)s"
        self.logger.error("cannot publish the bundle", metadata: metadata)
    }

    private func metadata(_ status: Status) -> Logger.Metadata {
        var metadata: Logger.Metadata = [
            "publisher": "\(status.name)", "destination": "\(status.destination)",
        ]
        if let number = status.sequenceNumber { metadata["sequence_number"] = "\(number)" }
        return metadata
    }
}
