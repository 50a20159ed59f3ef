import GRPCCore
import Logging
import NIOConcurrencyHelpers
public import SPIFFE
public import SPIFFEWorkloadAPI
import SwiftProtobuf
import WorkloadAPIProto

extension BrokerClient {
    /// Holds a workload's stream of X509-SVIDs and hands out each state until the task is cancelled; then returns.
    ///
    /// The stream is opened again whenever it ends: at once after a clean end, with growing, jittered waits after
    /// errors, slowly after a refusal. After `unauthenticated` it waits for another X509-SVID of this broker.
    /// Errors for which waiting does not help are thrown; among them, for processes, `workloadNotFound`, because
    /// their numbers are used again.
    ///
    /// - Parameters:
    ///   - workload: Whose identities.
    ///   - onUpdate: Told each state; it replaces the one before it whole, of this workload and of no other. Must
    ///     not block.
    ///   - onError: Told each failure: `workloadNotFound` and `permissionDenied` withdraw what was handed out for
    ///     this workload, files included; all others leave it in force. Must not block.
    /// - Throws: ``BrokerError``, after telling `onError`.
    public func watchX509Context(
        of workload: WorkloadReference, onUpdate: @escaping @Sendable (X509Context) -> Void,
        onError: @escaping @Sendable (BrokerError) -> Void = { _ in }
    ) async throws(BrokerError) {
        let request = Spiffe_Broker_SubscribeToX509SVIDRequest.with {
            $0.reference = workload.message
        }
        try await self.watch(
            workload, Spiffe_Broker_API.Method.SubscribeToX509SVID.descriptor, request, onError
        ) { (message: X509SVIDResponse) throws(WorkloadAPIError) in
            onUpdate(try X509Context(message))
        }
    }

    /// Holds a workload's stream of X.509 bundles; rules as ``watchX509Context(of:onUpdate:onError:)``.
    public func watchX509Bundles(
        of workload: WorkloadReference, onUpdate: @escaping @Sendable (X509BundleSet) -> Void,
        onError: @escaping @Sendable (BrokerError) -> Void = { _ in }
    ) async throws(BrokerError) {
        let request = Spiffe_Broker_SubscribeToX509BundlesRequest.with {
            $0.reference = workload.message
        }
        try await self.watch(
            workload, Spiffe_Broker_API.Method.SubscribeToX509Bundles.descriptor, request, onError
        ) { (message: X509BundlesResponse) throws(WorkloadAPIError) in
            onUpdate(try X509Context.bundles(message))
        }
    }

    /// Holds a workload's stream of JWT bundles; rules as ``watchX509Context(of:onUpdate:onError:)``.
    public func watchJWTBundles(
        of workload: WorkloadReference, onUpdate: @escaping @Sendable (JWTBundleSet) -> Void,
        onError: @escaping @Sendable (BrokerError) -> Void = { _ in }
    ) async throws(BrokerError) {
        let request = Spiffe_Broker_SubscribeToJWTBundlesRequest.with {
            $0.reference = workload.message
        }
        try await self.watch(
            workload, Spiffe_Broker_API.Method.SubscribeToJWTBundles.descriptor, request, onError
        ) { (message: JWTBundlesResponse) throws(WorkloadAPIError) in
            onUpdate(try JWTMessages.bundles(message))
        }
    }

    private func watch<Request: Message, Response: Message>(
        _ workload: WorkloadReference, _ method: MethodDescriptor, _ request: Request,
        _ onError: @escaping @Sendable (BrokerError) -> Void,
        _ handle: @escaping @Sendable (Response) throws(WorkloadAPIError) -> Void
    ) async throws(BrokerError) {
        var waits = BrokerWaits(
            first: self.configuration.firstBackOff, longest: self.configuration.longestBackOff)
        let clock = ContinuousClock()
        while !Task.isCancelled {
            let hadMessages = NIOLockedValueBox(false)
            let start = clock.now
            var failure: BrokerError?
            do throws(BrokerError) {
                try await self.call(workload, method, request, timeout: nil) {
                    (messages: RPCAsyncSequence<Response, any Error>) in
                    for try await message in messages {
                        do throws(BrokerError) {
                            try Self.read { () throws(WorkloadAPIError) in try handle(message) }
                            // A bad message does not count: a server that sends only those is waited for.
                            hadMessages.withLockedValue { $0 = true }
                        } catch {
                            onError(error)
                        }
                    }
                }
            } catch {
                failure = error
            }
            if Task.isCancelled { return }
            if let failure {
                onError(failure)
                if !failure.isRetryable(workload) { throw failure }
            }
            let wait = waits.next(
                after: failure, hadMessages: hadMessages.withLockedValue { $0 },
                lasted: clock.now - start)
            self.configuration.logger?.debug(
                "opening Broker API stream again",
                metadata: [
                    LogKeys.address: "\(self.address)", LogKeys.method: "\(method.method)",
                    LogKeys.workload: "\(workload)",
                    LogKeys.error: "\(failure?.message ?? "ended")",
                    LogKeys.retryAfter: "\(wait / .seconds(1))",
                ])
            // Throws only when cancelled, which the loop sees.
            try? await Task.sleep(for: wait)
        }
    }
}
