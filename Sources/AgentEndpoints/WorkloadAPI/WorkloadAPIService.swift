import AgentCore
import GRPCCore
import NIOCore
package import NIOHPACK
import SPIFFE
package import SPIFFEGRPC

/// The Workload API on the event loops of its connections (SPIFFE Workload Endpoint §3): what is at hand
/// is answered in the turn of the loop in which it was asked for.
package struct WorkloadAPIService: EventLoopService {
    static let serviceName = "SpiffeWorkloadAPI"
    package let name = Self.serviceName
    private let api: WorkloadAPI
    private let announcements = AnnouncementsByLoop()

    package init(_ api: WorkloadAPI) { self.api = api }

    package func handler(
        for call: GRPCCall, fields: HPACKHeaders
    ) -> (any GRPCCallHandler)? {
        WorkloadCallHandler(
            call, of: self.name, fields, api: self.api, announcements: self.announcements)
    }
}

/// `cygnet.workload.v1.WorkloadRevocations`: what was taken back, for whoever verifies. On the same socket, for the same
/// callers and under the same rules as the bundles of the Workload API.
package struct WorkloadRevocationsService: EventLoopService {
    static let serviceName = "cygnet.workload.v1.WorkloadRevocations"
    package let name = Self.serviceName
    private let api: WorkloadAPI
    private let announcements = AnnouncementsByLoop()

    package init(_ api: WorkloadAPI) { self.api = api }

    package func handler(
        for call: GRPCCall, fields: HPACKHeaders
    ) -> (any GRPCCallHandler)? {
        WorkloadCallHandler(
            call, of: self.name, fields, api: self.api, announcements: self.announcements)
    }
}

/// `cygnet.workload.v1.PartnerLimits`: what partners are trusted with, for whoever verifies; rules as
/// ``WorkloadRevocationsService``.
package struct PartnerLimitsService: EventLoopService {
    static let serviceName = "cygnet.workload.v1.PartnerLimits"
    package let name = Self.serviceName
    private let api: WorkloadAPI
    private let announcements = AnnouncementsByLoop()

    package init(_ api: WorkloadAPI) { self.api = api }

    package func handler(
        for call: GRPCCall, fields: HPACKHeaders
    ) -> (any GRPCCallHandler)? {
        WorkloadCallHandler(
            call, of: self.name, fields, api: self.api, announcements: self.announcements)
    }
}

/// What every call must carry, so that no one can be tricked into making it (SPIFFE Workload Endpoint
/// §6).
private enum SecurityHeader {
    static let name = "workload.spiffe.io"
    static let value = "true"
}

/// One call of a workload.
final class WorkloadCallHandler: GRPCCallHandler, Announced {
    private let call: GRPCCall
    private let method: WorkloadMethod
    private let hasSecurityHeader: Bool
    private let api: WorkloadAPI
    private let announcements: AnnouncementsByLoop
    private var hasBegun = false
    private var isOver = false
    private var takesParts = false
    private var stream: WorkloadStream?
    /// What takes time; its result comes back to the event loop.
    private var task: Task<Void, Never>?

    /// Nil when the service has no such method.
    init?(
        _ call: GRPCCall, of service: String, _ fields: HPACKHeaders, api: WorkloadAPI,
        announcements: AnnouncementsByLoop
    ) {
        guard let method = WorkloadMethod(rawValue: call.method), method.service == service else {
            return nil
        }
        self.call = call
        self.method = method
        self.hasSecurityHeader = fields[SecurityHeader.name] == [SecurityHeader.value]
        self.api = api
        self.announcements = announcements
    }

    // MARK: From the connection

    func receive(_ message: ByteBuffer) {
        if self.hasBegun {
            return self.end(Status(code: .internalError, message: "more than one request message"))
        }
        self.begin(Array(buffer: message))
    }

    func receiveEnd() {
        if self.hasBegun { return }
        if !self.hasSecurityHeader { return self.end(Status(WorkloadAPI.noSecurityHeader)) }
        self.end(Status(code: .internalError, message: "request message is missing"))
    }

    func cancelled() {
        self.isOver = true
        self.release()
    }

    func unblocked() { self.push() }

    // MARK: The call

    private func begin(_ request: [UInt8]) {
        self.hasBegun = true
        do throws(WorkloadRefusal) {
            if !self.hasSecurityHeader { throw WorkloadAPI.noSecurityHeader }
            guard case .local(let peer) = self.call.peer.peer else {
                throw WorkloadRefusal(.unavailable, "caller cannot be identified")
            }
            let process = PeerProcess(peer)
            switch self.method {
            case .fetchX509SVID: try self.open(.x509SVIDs, process)
            case .fetchX509Bundles: try self.open(.x509Bundles, process)
            case .fetchJWTBundles: try self.open(.jwtBundles, process)
            case .fetchRevocations:
                self.takesParts = try self.api.takesRevocationParts(request)
                try self.open(.revocations, process)
            case .fetchPartnerLimits: try self.open(.limits, process)
            case .fetchJWTSVID, .validateJWTSVID, .record:
                try self.answer(WorkloadRequest(self.method, request), process)
            case .fetchWITSVID:
                let spiffeID = try self.api.requestedWITSVID(request)
                try self.open(.witSVIDs, process, spiffeID: spiffeID)
            case .fetchWITBundles:
                try self.api.requireWITSVIDs()
                try self.open(.witBundles, process)
            }
        } catch {
            self.end(Status(error))
        }
    }

    private func open(
        _ kind: SVIDCache.Kind, _ process: PeerProcess, spiffeID: SPIFFEID? = nil
    ) throws(WorkloadRefusal) {
        if let known = try self.api.attestation.known(process) {
            return self.open(kind, process, known, spiffeID: spiffeID, isFresh: true)
        }
        self.later { [api] () async throws(WorkloadRefusal) in
            try await api.attestation.attest(process)
        } then: { handler, attested in
            handler.open(kind, process, attested, spiffeID: spiffeID, isFresh: false)
        }
    }

    private func open(
        _ kind: SVIDCache.Kind, _ process: PeerProcess, _ attested: AttestedWorkload,
        spiffeID: SPIFFEID?, isFresh: Bool
    ) {
        let bound = NIOLoopBound(self as any Announced, eventLoop: self.call.eventLoop)
        let announcements = self.announcements.announcements(of: self.call.eventLoop)
        let stream = WorkloadStream(
            kind, process, attested, spiffeID: spiffeID, takesParts: self.takesParts,
            isFresh: isFresh, api: self.api,
            announce: { announcements.add(bound) })
        self.stream = stream
        self.push()
        stream.settle()
    }

    /// Sends the newest message, if there is one and the client has read the last.
    func push() {
        guard let stream = self.stream, !self.call.isBlocked else { return }
        do throws(WorkloadRefusal) {
            if let message = try stream.next() { self.call.send(framed: message) }
        } catch {
            self.end(Status(error))
        }
    }

    private func answer(
        _ request: WorkloadRequest, _ process: PeerProcess
    ) throws(WorkloadRefusal) {
        if let known = try self.api.attestation.known(process),
            let answer = try self.api.answerAtOnce(request, process, known)
        {
            return self.finish(answer)
        }
        self.later { [api] () async throws(WorkloadRefusal) in
            try await api.answer(request, process)
        } then: { handler, answer in
            handler.finish(answer)
        }
    }

    private func finish(_ answer: WorkloadAnswer) {
        self.call.send(answer.bytes)
        self.end(Status(code: .ok, message: ""))
    }

    private func end(_ status: Status) {
        if self.isOver { return }
        self.isOver = true
        self.release()
        self.call.finish(status)
    }

    private func release() {
        self.stream?.close()
        self.stream = nil
        self.task?.cancel()
        self.task = nil
    }

    /// Does what takes time elsewhere, and goes on here unless the call has ended meanwhile.
    private func later<Value: Sendable>(
        _ work: @escaping @Sendable () async throws(WorkloadRefusal) -> Value,
        then: @escaping @Sendable (WorkloadCallHandler, Value) -> Void
    ) {
        let bound = NIOLoopBound(self, eventLoop: self.call.eventLoop)
        let eventLoop = self.call.eventLoop
        self.task = Task {
            let result: Result<Value, WorkloadRefusal>
            do throws(WorkloadRefusal) { result = .success(try await work()) } catch {
                result = .failure(error)
            }
            eventLoop.execute {
                let handler = bound.value
                if handler.isOver { return }
                handler.task = nil
                switch result {
                case .success(let value): then(handler, value)
                case .failure(let refusal): handler.end(Status(refusal))
                }
            }
        }
    }
}

extension Status {
    /// The one table from refusals to gRPC status.
    fileprivate init(_ refusal: WorkloadRefusal) {
        let code: Status.Code
        switch refusal.code {
        case .invalidArgument: code = .invalidArgument
        case .noIdentity: code = .permissionDenied
        case .unavailable: code = .unavailable
        case .exhausted: code = .resourceExhausted
        case .unimplemented: code = .unimplemented
        case .internal: code = .internalError
        }
        self.init(code: code, message: refusal.message)
    }
}
