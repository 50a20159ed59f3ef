import AgentCore
import Foundation
import GRPCCore
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOHPACK
import SPIFFE
import SPIFFEGRPC
import X509

/// The Broker API on the event loops of its connections (SPIFFE Broker API §3, Broker Endpoint §3).
///
/// Every call is about one workload and shares nothing with calls about others: attested facts, identities
/// and the end belong to the process that its reference names.
struct BrokerService: EventLoopService {
    let name = "spiffe.broker.API"
    private let shared: Shared

    /// What all calls work with.
    final class Shared: Sendable {
        let api: WorkloadAPI
        let policies: [SPIFFEID: BrokerPolicy]
        let processes = ReferencedProcesses()
        let announcements = AnnouncementsByLoop()
        let logger: Logger
        /// The time that X509-SVIDs of brokers are held against.
        let now: @Sendable () -> Date
        private let maximumCalls: Int
        private let openCalls = NIOLockedValueBox(0)

        init(
            api: WorkloadAPI, brokers: [BrokerPolicy], maximumCalls: Int, logger: Logger,
            now: @escaping @Sendable () -> Date
        ) {
            self.api = api
            self.maximumCalls = maximumCalls
            self.now = now
            self.policies = Dictionary(brokers.map { ($0.id, $0) }) { first, _ in first }
            self.logger = logger
        }

        /// One more call; false when there are too many. Who hears true says ``leave()`` at the end.
        func enter() -> Bool {
            self.openCalls.withLockedValue { count in
                if count >= self.maximumCalls { return false }
                count += 1
                return true
            }
        }

        func leave() { self.openCalls.withLockedValue { $0 -= 1 } }
    }

    /// - Parameter maximumCalls: Calls that may be open at once, whether or not their request has come: some for
    ///   each process of a large node.
    init(
        api: WorkloadAPI, brokers: [BrokerPolicy], maximumCalls: Int = 20_000, logger: Logger,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.shared = Shared(
            api: api, brokers: brokers, maximumCalls: maximumCalls, logger: logger, now: now)
    }

    func handler(for call: GRPCCall, fields: HPACKHeaders) -> (any GRPCCallHandler)? {
        BrokerCallHandler(
            call, BrokerMethod(rawValue: call.method),
            hasSecurityHeader: BrokerCaller.isComplete(fields[BrokerCaller.headerName]),
            self.shared)
    }
}

/// What is asked of a caller before anything else: on every method of the endpoint.
enum BrokerCaller {
    static let headerName = "broker.spiffe.io"

    /// Whether the values of the security header are what they must be: `true`, once (Broker Endpoint §3).
    static func isComplete(_ values: [String]) -> Bool { values == ["true"] }

    /// Who calls.
    ///
    /// - Throws: ``BrokerRefusal`` when the caller is unknown, or its X509-SVID has expired since the
    ///   handshake.
    static func verified(
        _ peer: PeerContext?, now: Date = Date()
    ) throws(BrokerRefusal) -> VerifiedX509SVID {
        guard case .tls(let verified?)? = peer?.peer else { throw .unknownCaller }
        if verified.leaf.notValidAfter < now { throw .expiredCaller }
        return verified
    }
}

/// One call of a broker.
private final class BrokerCallHandler: GRPCCallHandler, Announced {
    private let call: GRPCCall
    private let method: BrokerMethod?
    private let hasSecurityHeader: Bool
    private let shared: BrokerService.Shared
    private var hasBegun = false
    private var isOver = false
    private var hasEntered = false
    /// When the caller's X509-SVID expires.
    private var callerExpiresAt = Date.distantPast
    /// What the log says the caller was handed.
    private var handed: [SPIFFEID] = []
    private var workload: ReferencedWorkload?
    private var endKey: UInt64?
    private var stream: WorkloadStream?
    private var expiry: Scheduled<Void>?
    private var nextLook: Scheduled<Void>?
    /// What takes time; its result comes back to the event loop.
    private var task: Task<Void, Never>?

    init(
        _ call: GRPCCall, _ method: BrokerMethod?, hasSecurityHeader: Bool,
        _ shared: BrokerService.Shared
    ) {
        self.call = call
        self.method = method
        self.hasSecurityHeader = hasSecurityHeader
        self.shared = shared
        self.hasEntered = shared.enter()
        if !self.hasEntered { self.refuse(.tooManyCalls) }
    }

    // MARK: From the connection

    func receive(_ message: ByteBuffer) {
        if self.hasBegun {
            return self.end(Status(code: .internalError, message: "more than one request message"))
        }
        self.hasBegun = true
        do throws(BrokerRefusal) { try self.begin(Array(buffer: message)) } catch {
            self.refuse(error)
        }
    }

    func receiveEnd() {
        if self.hasBegun { return }
        if !self.hasSecurityHeader { return self.refuse(.noSecurityHeader) }
        self.end(Status(code: .internalError, message: "request message is missing"))
    }

    func cancelled() {
        self.isOver = true
        self.release()
    }

    func unblocked() { self.push() }

    // MARK: The call

    private func begin(_ bytes: [UInt8]) throws(BrokerRefusal) {
        if !self.hasSecurityHeader { throw .noSecurityHeader }
        guard let method = self.method else { throw .unknownMethod }
        let caller = try BrokerCaller.verified(self.call.peer, now: self.shared.now())
        guard let policy = self.shared.policies[caller.id] else { throw .callerNotListed }
        let request = try BrokerRequest(method, bytes)
        let isOnUnixSocket = self.call.peer.isOnUnixSocket
        guard policy.allows(request.reference.typeURL, isOnUnixSocket: isOnUnixSocket) else {
            throw .typeDenied(isOnUnixSocket: isOnUnixSocket)
        }
        let workload: ReferencedWorkload
        switch request.reference {
        case .pid(let pid):
            workload = try ReferencedWorkload(try self.shared.processes.process(pid))
        }
        try self.follow(workload)
        if self.isOver { return }
        self.callerExpiresAt = caller.leaf.notValidAfter
        self.endWithCaller()
        if self.isOver { return }
        try self.serve(request.wish, to: workload, policy)
    }

    /// From here on the call ends when the workload does.
    private func follow(_ workload: ReferencedWorkload) throws(BrokerRefusal) {
        let bound = NIOLoopBound(self, eventLoop: self.call.eventLoop)
        let eventLoop = self.call.eventLoop
        let key = workload.process.whenEnded {
            eventLoop.execute { bound.value.workloadEnded() }
        }
        guard let key else { throw .ended(workload.pid) }
        self.workload = workload
        self.endKey = key
        if !workload.process.tellsEnd { self.look() }
    }

    /// Where the system does not tell of the end of processes.
    private func look() {
        guard let workload = self.workload else { return }
        if !workload.isAlive { return self.workloadEnded() }
        self.nextLook = self.schedule(in: .seconds(1)) { handler in handler.look() }
    }

    /// What the caller may have, it may have for as long as its X509-SVID lasts; then it shows a new one.
    ///
    /// Timers stand still while the machine sleeps, and clocks are set: so the time is looked at now and then,
    /// and before every message.
    private func endWithCaller() {
        let rest = self.callerExpiresAt.timeIntervalSince(self.shared.now())
        if rest < 0 { return self.refuse(.expiredCaller) }
        self.expiry = self.schedule(in: .milliseconds(Int64(min(rest + 1, 60) * 1000))) { handler in
            handler.endWithCaller()
        }
    }

    /// - Throws: ``BrokerRefusal`` when the caller's X509-SVID has expired meanwhile.
    private func checkCaller() throws(BrokerRefusal) {
        if self.callerExpiresAt < self.shared.now() { throw .expiredCaller }
    }

    private func serve(
        _ wish: BrokerRequest.Wish, to workload: ReferencedWorkload, _ policy: BrokerPolicy
    ) throws(BrokerRefusal) {
        let known: AttestedWorkload?
        do throws(WorkloadRefusal) {
            known = try self.shared.api.attestation.known(workload)
        } catch {
            throw BrokerRefusal(error, pid: workload.pid, isAlive: workload.isAlive)
        }
        if let known { return try self.serve(wish, to: workload, known, policy, isFresh: true) }
        self.later { [shared] () async throws(WorkloadRefusal) in
            try await shared.api.attestation.attest(workload)
        } then: { handler, attested in
            do throws(BrokerRefusal) {
                try handler.serve(wish, to: workload, attested, policy, isFresh: false)
            } catch {
                handler.refuse(error)
            }
        }
    }

    private func serve(
        _ wish: BrokerRequest.Wish, to workload: ReferencedWorkload, _ attested: AttestedWorkload,
        _ policy: BrokerPolicy, isFresh: Bool
    ) throws(BrokerRefusal) {
        guard policy.covers(attested.selectors) else {
            self.shared.logger.warning(
                "broker asked for a workload that it may not act for",
                metadata: [
                    LogKeys.brokerID: "\(policy.id)", LogKeys.pid: "\(workload.pid)",
                    LogKeys.selectors: .array(attested.selectors.sorted().map { "\($0)" }),
                ])
            throw .outOfScope(workload.pid)
        }
        switch wish {
        case .stream(let kind): self.open(kind, workload, attested, policy, isFresh: isFresh)
        case .answer(let request):
            do throws(WorkloadRefusal) {
                if isFresh,
                    let answer = try self.shared.api.answerAtOnce(request, workload, attested)
                {
                    return self.finish(answer, policy.id)
                }
            } catch {
                throw BrokerRefusal(error, pid: workload.pid, isAlive: workload.isAlive)
            }
            self.later { [shared] () async throws(WorkloadRefusal) in
                try await shared.api.answer(request, workload, as: attested.selectors)
            } then: { handler, answer in
                handler.finish(answer, policy.id)
            }
        }
    }

    private func open(
        _ kind: SVIDCache.Kind, _ workload: ReferencedWorkload, _ attested: AttestedWorkload,
        _ policy: BrokerPolicy, isFresh: Bool
    ) {
        let bound = NIOLoopBound(self as any Announced, eventLoop: self.call.eventLoop)
        let announcements = self.shared.announcements.announcements(of: self.call.eventLoop)
        let stream = WorkloadStream(
            kind, workload, attested, isFresh: isFresh, api: self.shared.api,
            served: { [weak self] view in
                self?.note(view.identities.map(\.svid.spiffeID), policy.id)
            },
            announce: { announcements.add(bound) })
        self.stream = stream
        self.push()
        stream.settle()
    }

    /// Sends the newest message, if there is one and the client has read the last.
    func push() {
        guard let stream = self.stream, let workload = self.workload, !self.call.isBlocked else {
            return
        }
        do throws(BrokerRefusal) { try self.checkCaller() } catch { return self.refuse(error) }
        do throws(WorkloadRefusal) {
            // The messages of the two APIs are the same, field for field, and so are their bytes.
            if let message = try stream.next() { self.call.send(framed: message) }
        } catch {
            self.refuse(BrokerRefusal(error, pid: workload.pid, isAlive: workload.isAlive))
        }
    }

    private func finish(_ answer: WorkloadAnswer, _ broker: SPIFFEID) {
        do throws(BrokerRefusal) { try self.checkCaller() } catch { return self.refuse(error) }
        self.note(answer.spiffeIDs, broker)
        self.call.send(answer.bytes)
        self.end(Status(code: .ok, message: ""))
    }

    /// Says in the log what the broker gets; of a stream whenever the identities are others.
    private func note(_ ids: [SPIFFEID], _ broker: SPIFFEID) {
        guard let workload = self.workload, ids != self.handed else { return }
        self.handed = ids
        self.shared.logger.info(
            "handed a workload's identities to its broker",
            metadata: [
                LogKeys.brokerID: "\(broker)", LogKeys.pid: "\(workload.pid)",
                LogKeys.method: "\(self.call.method)",
                LogKeys.spiffeIDs: .array(ids.map { "\($0)" }),
            ])
    }

    // MARK: The end

    private func workloadEnded() {
        guard let workload = self.workload else { return }
        self.refuse(.ended(workload.pid))
    }

    private func refuse(_ refusal: BrokerRefusal) {
        if self.isOver { return }
        // The client is to come back with another certificate, which takes another connection.
        if refusal.code == .unauthenticated { self.call.renewConnection() }
        self.end(refusal.status, refusal.details)
    }

    private func end(_ status: Status, _ metadata: Metadata = [:]) {
        if self.isOver { return }
        self.isOver = true
        self.release()
        self.call.finish(status, metadata: metadata)
    }

    private func release() {
        if self.hasEntered { self.shared.leave() }
        self.hasEntered = false
        self.stream?.close()
        self.stream = nil
        self.task?.cancel()
        self.task = nil
        self.expiry?.cancel()
        self.expiry = nil
        self.nextLook?.cancel()
        self.nextLook = nil
        if let key = self.endKey { self.workload?.process.forget(key) }
        self.endKey = nil
        self.workload = nil
    }

    private func schedule(
        in delay: TimeAmount, _ action: @escaping (BrokerCallHandler) -> Void
    ) -> Scheduled<Void> {
        self.call.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            if let self { action(self) }
        }
    }

    /// Does what takes time elsewhere, and goes on here unless the call has ended meanwhile.
    private func later<Value: Sendable>(
        _ work: @escaping @Sendable () async throws(WorkloadRefusal) -> Value,
        then: @escaping @Sendable (BrokerCallHandler, Value) -> Void
    ) {
        let bound = NIOLoopBound(self, eventLoop: self.call.eventLoop)
        let eventLoop = self.call.eventLoop
        // Owned by `task`; ends with the work, whose result nobody hears of once the call is over.
        self.task = Task {
            let result: Result<Value, WorkloadRefusal>
            do throws(WorkloadRefusal) { result = .success(try await work()) } catch {
                result = .failure(error)
            }
            eventLoop.execute {
                let handler = bound.value
                guard !handler.isOver, let workload = handler.workload else { return }
                handler.task = nil
                switch result {
                case .success(let value): then(handler, value)
                case .failure(let refusal):
                    handler.refuse(
                        BrokerRefusal(refusal, pid: workload.pid, isAlive: workload.isAlive))
                }
            }
        }
    }
}
