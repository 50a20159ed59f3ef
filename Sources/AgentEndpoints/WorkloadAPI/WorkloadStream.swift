import AgentCore
import NIOConcurrencyHelpers
import NIOCore
import PluginAPI
import SPIFFE

/// An open stream of a workload: its messages, newest first in the sense that what was overtaken is
/// never sent. A state in several messages that has begun goes out whole: a slow client gets the end of it however
/// often there is a newer one.
///
/// Belongs to one event loop. News arrive on any thread, wait in a mailbox for one, and are fetched by
/// the owner with ``next()``.
final class WorkloadStream {
    /// Where news wait: the newest, and whether the owner has been told to look.
    private struct Mailbox {
        var delivery: SVIDCache.Delivery?
        var isAnnounced = false
    }

    private let kind: SVIDCache.Kind
    private let process: any WorkloadProcess
    /// What the process was when it was attested.
    private let attested: ProcessFingerprint
    private let mailbox = NIOLockedValueBox(Mailbox())
    private let api: WorkloadAPI
    private let subscription: SVIDCache.SubscriberID
    private let selectors: Set<Selector>
    private let served: ((X509View) -> Void)?
    private let announce: @Sendable () -> Void
    private let takesParts: Bool
    /// The newest state that was begun, in its messages; not empty after the first.
    private var last: [ByteBuffer] = []
    /// How many of them wait to be sent.
    private var waiting = 0
    /// The process has been looked at in this very moment, and need not be for the first message.
    private var isFresh: Bool

    /// Subscribes. The owner must call ``close()`` when done.
    ///
    /// - Parameters:
    ///   - spiffeID: Of WIT-SVIDs only those for this ID; nil for all.
    ///   - takesParts: Whether the client joins states of revocations that come in parts.
    ///   - isFresh: Whether `attested` was compared with the process just now, not before a wait.
    ///   - served: Told of each message of a stream of X509-SVIDs that the process may have.
    ///   - announce: Called on any thread when ``next()`` will have something; must not wait.
    init(
        _ kind: SVIDCache.Kind, _ process: any WorkloadProcess, _ attested: AttestedWorkload,
        spiffeID: SPIFFEID? = nil, takesParts: Bool = false, isFresh: Bool, api: WorkloadAPI,
        served: ((X509View) -> Void)? = nil,
        announce: @escaping @Sendable () -> Void
    ) {
        self.kind = kind
        self.process = process
        self.attested = attested.fingerprint
        self.selectors = attested.selectors
        self.isFresh = isFresh
        self.api = api
        self.served = served
        self.announce = announce
        self.takesParts = takesParts
        let mailbox = self.mailbox
        let (id, first) = api.identities.subscribe(
            kind, attested.selectors, spiffeID: spiffeID
        ) { delivery in
            let isNew = mailbox.withLockedValue { mailbox in
                mailbox.delivery = delivery
                defer { mailbox.isAnnounced = true }
                return !mailbox.isAnnounced
            }
            if isNew { announce() }
        }
        self.subscription = id
        if let first {
            // What came by the other way since then is newer.
            mailbox.withLockedValue { if $0.delivery == nil { $0.delivery = first } }
        }
    }

    /// The next message with its gRPC prefix, if there is one that says something new.
    ///
    /// - Throws: ``WorkloadRefusal`` when the workload is entitled to nothing (any more).
    func next() throws(WorkloadRefusal) -> ByteBuffer? {
        let isMidway = self.waiting > 0
        let delivery = self.mailbox.withLockedValue { mailbox -> SVIDCache.Delivery? in
            if isMidway {
                guard case .end? = mailbox.delivery else { return nil }
            }
            mailbox.isAnnounced = false
            defer { mailbox.delivery = nil }
            return mailbox.delivery
        }
        guard let delivery else { return isMidway ? try self.nextPart() : nil }
        let messages: [ByteBuffer]
        var served: X509View?
        switch delivery {
        case .end(let refusal):
            self.api.refused(refusal, self.process, self.selectors)
            throw refusal
        case .x509(let view):
            messages = [try self.api.messages.x509(view)]
            served = view
        case .wit(let view):
            messages = [try self.api.messages.wit(view)]
        case .revocations(let view):
            messages =
                self.takesParts
                ? try self.api.messages.revocationParts(view)
                : [try self.api.messages.revocations(view)]
        case .limits(let view):
            messages = [try self.api.messages.limits(view)]
        case .bundles(let view):
            switch self.kind {
            case .x509Bundles: messages = [try self.api.messages.x509Bundles(view)]
            case .witBundles: messages = [try self.api.messages.witBundles(view)]
            default: messages = [try self.api.messages.jwtBundles(view)]
            }
        }
        if messages == self.last { return nil }
        try self.look()
        switch delivery {
        case .x509(let view):
            let handing = try self.api.identities.hand(
                view, to: self.process, whenRecorded: self.announce)
            if !self.mayHand(delivery, handing) { return nil }
        case .wit(let view):
            let handing = try self.api.identities.hand(
                view, to: self.process, whenRecorded: self.announce)
            if !self.mayHand(delivery, handing) { return nil }
        case .bundles, .revocations, .limits, .end: break
        }
        // Not before the last look at the process: nothing is said to be served that is not.
        if let served {
            if self.last.isEmpty { self.api.served(served, self.process) }
            self.served?(served)
        }
        self.last = messages
        self.waiting = messages.count - 1
        if self.waiting > 0 { self.announce() }
        return messages.first
    }

    /// What waits for the process to be recorded goes back into the mailbox, unless there is something newer.
    private func mayHand(
        _ delivery: SVIDCache.Delivery, _ handing: WorkloadIdentities.Handing
    ) -> Bool {
        if handing == .pending {
            self.mailbox.withLockedValue { if $0.delivery == nil { $0.delivery = delivery } }
        }
        return handing == .handed
    }

    private func nextPart() throws(WorkloadRefusal) -> ByteBuffer {
        try self.look()
        let part = self.last[self.last.count - self.waiting]
        self.waiting -= 1
        // Also behind the last part: a newer state may have come meanwhile. Not at once, for others of this event loop
        // wait as well.
        self.announce()
        return part
    }

    /// The socket may have outlived the process that was attested, or the process the program: what was attested of
    /// one is not told to the other.
    private func look() throws(WorkloadRefusal) {
        if !self.isFresh {
            guard let now = self.process.fingerprint(), now.isSameProgramAndUser(as: self.attested),
                self.process.isAlive
            else { throw WorkloadRefusal.attestationFailed }
        }
        self.isFresh = false
    }

    /// The event loop has moved on: what was known about the process may not hold any more.
    func settle() { self.isFresh = false }

    /// Ends the subscription. More than once does no harm.
    func close() { self.api.identities.unsubscribe(self.subscription) }
}
