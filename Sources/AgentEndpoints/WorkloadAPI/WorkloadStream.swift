import AgentCore
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE

/// An open stream of a workload: its messages, newest first in the sense that what was overtaken is
/// never sent.
///
/// One task reads it. ``close()`` may be called from anywhere, more than once, and ends the
/// reading.
package final class WorkloadStream: Sendable {
    private struct State {
        var subscription: SVIDCache.SubscriberID?
        var isClosed = false
    }

    private let kind: SVIDCache.Kind
    private let process: PeerProcess
    private let selectors: Set<Selector>
    /// What the process was when it was attested.
    private let attested: ProcessFingerprint
    private let state = NIOLockedValueBox(State())
    private let identities: WorkloadIdentities
    private let encoder: WorkloadMessages
    private let onServed: @Sendable (X509View) -> Void
    private let onRefused: @Sendable (WorkloadRefusal) -> Void

    init(
        kind: SVIDCache.Kind, process: PeerProcess, attested: ProcessFingerprint,
        selectors: Set<Selector>,
        identities: WorkloadIdentities, encoder: WorkloadMessages,
        onServed: @escaping @Sendable (X509View) -> Void,
        onRefused: @escaping @Sendable (WorkloadRefusal) -> Void
    ) {
        self.kind = kind
        self.process = process
        self.attested = attested
        self.selectors = selectors
        self.identities = identities
        self.encoder = encoder
        self.onServed = onServed
        self.onRefused = onRefused
    }

    /// Hands every message to `send`, one at a time, until the stream is closed.
    ///
    /// - Throws: ``WorkloadRefusal`` when the workload is entitled to nothing (any more); what
    ///   `send` throws.
    package func forEach(_ send: (_ message: [UInt8]) async throws -> Void) async throws {
        let subscription = self.identities.subscribe(self.kind, self.selectors)
        defer { self.identities.unsubscribe(subscription.id) }
        let isClosed = self.state.withLockedValue { state in
            state.subscription = subscription.id
            return state.isClosed
        }
        if isClosed { return }
        var last: [UInt8]?
        for await delivery in subscription.updates {
            let message: [UInt8]
            switch delivery {
            case .end(let refusal):
                self.onRefused(refusal)
                throw refusal
            case .x509(let view):
                message = try self.encoder.bytes(view)
                if last == nil { self.onServed(view) }
            case .bundles(let view):
                message =
                    self.kind == .x509Bundles
                    ? try self.encoder.x509Bundles(view) : try self.encoder.jwtBundles(view)
            }
            if message == last { continue }
            // The socket may have outlived the process that was attested, or the process the program:
            // what was attested of one is not told to the other.
            guard let now = self.process.fingerprint(), now.isSameProgramAndUser(as: self.attested),
                self.process.isAlive
            else { throw WorkloadRefusal.attestationFailed }
            try await send(message)
            last = message
        }
    }

    /// Ends the stream, also one that has not begun.
    package func close() {
        let subscription = self.state.withLockedValue { state in
            state.isClosed = true
            return state.subscription
        }
        if let subscription { self.identities.unsubscribe(subscription) }
    }
}
