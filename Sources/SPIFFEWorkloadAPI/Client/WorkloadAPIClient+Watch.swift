import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import NIOConcurrencyHelpers
public import SPIFFE
import WorkloadAPIProto

extension WorkloadAPIClient {
    /// Holds the stream of X509-SVIDs and hands out each state until the task is cancelled; then returns.
    ///
    /// The stream is opened again whenever it ends: at once after a clean end, with growing, jittered
    /// waits after errors. `invalidRequest` and `notSupported` are not retried: they are thrown.
    ///
    /// - Parameters:
    ///   - onUpdate: Told each state; it replaces the one before it whole. Must not block.
    ///   - onError: Told each failure in between: `noIdentity` withdraws what was handed out,
    ///     `invalidResponse` and all others leave it in force.
    /// - Throws: ``WorkloadAPIError`` for which waiting does not help.
    public func watchX509Context(
        onUpdate: @escaping @Sendable (X509Context) -> Void,
        onError: @escaping @Sendable (WorkloadAPIError) -> Void = { _ in }
    ) async throws(WorkloadAPIError) {
        try await self.watch("FetchX509SVID", onError) { api, options, received in
            try await api.fetchX509SVID(.init(), options: options) { response in
                for try await message in response.messages {
                    received { () throws(WorkloadAPIError) in onUpdate(try X509Context(message)) }
                }
            }
        }
    }

    /// Holds the stream of X.509 bundles, for programs that verify peers and present nothing; rules as
    /// ``watchX509Context(onUpdate:onError:)``.
    public func watchX509Bundles(
        onUpdate: @escaping @Sendable (X509BundleSet) -> Void,
        onError: @escaping @Sendable (WorkloadAPIError) -> Void = { _ in }
    ) async throws(WorkloadAPIError) {
        try await self.watch("FetchX509Bundles", onError) { api, options, received in
            try await api.fetchX509Bundles(.init(), options: options) { response in
                for try await message in response.messages {
                    received { () throws(WorkloadAPIError) in
                        onUpdate(try X509Context.bundles(message))
                    }
                }
            }
        }
    }

    /// Holds the stream of JWT bundles; rules as ``watchX509Context(onUpdate:onError:)``.
    public func watchJWTBundles(
        onUpdate: @escaping @Sendable (JWTBundleSet) -> Void,
        onError: @escaping @Sendable (WorkloadAPIError) -> Void = { _ in }
    ) async throws(WorkloadAPIError) {
        try await self.watch("FetchJWTBundles", onError) { api, options, received in
            try await api.fetchJWTBundles(.init(), options: options) { response in
                for try await message in response.messages {
                    received { () throws(WorkloadAPIError) in
                        onUpdate(try JWTMessages.bundles(message))
                    }
                }
            }
        }
    }

    /// Runs with what is done for one message; reports the error when the message is bad.
    typealias Received = @Sendable (() throws(WorkloadAPIError) -> Void) -> Void

    func watch(
        _ method: String, _ onError: @escaping @Sendable (WorkloadAPIError) -> Void,
        _ stream: (API, CallOptions, @escaping Received) async throws -> Void
    ) async throws(WorkloadAPIError) {
        var policy = RetryPolicy(
            first: self.configuration.firstBackOff, longest: self.configuration.longestBackOff)
        let clock = ContinuousClock()
        while !Task.isCancelled {
            let hadMessages = NIOLockedValueBox(false)
            let start = clock.now
            let end: RetryPolicy.End
            do {
                try await stream(self.api, self.options(timeout: nil)) { handle in
                    do throws(WorkloadAPIError) {
                        try handle()
                        // A bad message does not count: a server that sends only those is waited for.
                        hadMessages.withLockedValue { $0 = true }
                    } catch {
                        onError(error)
                    }
                }
                end = .clean
            } catch {
                if Task.isCancelled { return }
                end = .failed(self.explain(error, method))
            }
            if Task.isCancelled { return }
            if case .failed(let error) = end { onError(error) }
            let action = policy.action(
                after: end, hadMessages: hadMessages.withLockedValue { $0 },
                lasted: clock.now - start)
            switch action {
            case .giveUp(let error): throw error
            case .retry(let wait):
                self.logRetry(method, end, wait)
                // Throws only when cancelled, which the loop sees.
                try? await Task.sleep(for: wait)
            }
        }
    }

    private func logRetry(_ method: String, _ end: RetryPolicy.End, _ wait: Duration) {
        let reason = if case .failed(let error) = end { error.message } else { "ended" }
        self.configuration.logger?.debug(
            "opening Workload API stream again",
            metadata: [
                LogKeys.address: "\(self.address)", LogKeys.method: "\(method)",
                LogKeys.error: "\(reason)", LogKeys.retryAfter: "\(wait / .seconds(1))",
            ])
    }
}
