import ControlPlaneProto
import Foundation
import GRPCCore
import Logging
import SPIFFE
import ServerCore
import SwiftProtobuf
import Transparency

/// `cygnet.sync.v1.Sync`: one stream per agent for entries, bundles and signing.
struct SyncService: Cygnet_Sync_V1_Sync.SimpleServiceProtocol {
    /// Entries per message of a snapshot.
    private static let pageSize = 1_000
    private static let heartbeatInterval = Duration.seconds(30)
    private static let maxBatch = 1_000

    let directory: Directory
    let nodes: NodeRegistry
    let issuer: Issuer
    let limits: RateLimits
    let bundles: any X509BundleSource
    let custody: CustodyRegistry
    let revocations: RevocationRegistry
    let logger: Logger
    var clock: any Clock<Duration> = ContinuousClock()

    func connect(
        request: RPCAsyncSequence<Cygnet_Sync_V1_AgentMessage, any Error>,
        response: RPCWriter<Cygnet_Sync_V1_ServerMessage>, context: ServerContext
    ) async throws {
        let call = try context.call
        let agent = try call.requireAgent()
        guard case .svid(_, let serial, let expiresAt) = call.caller.caller else {
            throw ServerError(.internal, "agent without SVID")
        }
        let requests = SyncInbox(request)
        let hello = try await SyncGreeting.hello(on: self.clock) { try await requests.next() }
        try await self.nodes.setVersion(hello.agentVersion, of: agent)
        let session = self.directory.openSession(
            agent: agent, knownDigest: [UInt8](hello.digest), x509AuthorityID: call.x509AuthorityID,
            serial: serial)
        defer { self.directory.closeSession(session) }
        // A ban, an eviction or the end of an authority between authorisation and the opened session must not slip
        // through.
        try call.anchor?.check(self.bundles)
        try await self.nodes.authorize(agent, serial: serial, expiresAt: expiresAt)

        try await withRPCCancellationHandler {
            try await withThrowingTaskGroup(of: Void.self) { group in
                let outbox = SyncOutbox(response, session)
                group.addTask { try await self.push(session, to: outbox) }
                group.addTask { try await self.heartbeat(session, to: outbox) }
                group.addTask { try await Self.expire(at: expiresAt, agent) }
                group.addTask {
                    // The requests' iterator stays in one task; signing runs beside it, so that a large batch does
                    // not hold up a small one.
                    try await withThrowingDiscardingTaskGroup { signing in
                        var inFlight = SyncInFlight()
                        while let message = try await requests.next() {
                            // Nothing more is signed for an agent that was banned.
                            if session.hasEnded { break }
                            try inFlight.admit()
                            let slot = inFlight.slot
                            signing.addTask {
                                defer { slot.release() }
                                do {
                                    try await self.handle(
                                        message, agent: agent, session, outbox, call)
                                } catch {
                                    // The loop above waits for the agent and would not notice; the session's
                                    // end ends the stream, with the reason or, if writing failed, without.
                                    session.finish(error as? ServerError)
                                }
                            }
                        }
                    }
                }
                defer { group.cancelAll() }
                // Whoever ends first ends the stream: the agent by half-closing, the others by an error.
                try await group.next()
            }
        } onCancelRPC: {
            session.finish(nil)
        }
    }

    private func push(_ session: SyncSession, to outbox: SyncOutbox) async throws {
        while let update = try await session.next() {
            if !update.bundles.isEmpty || !update.removedBundles.isEmpty {
                try await outbox.write(
                    .with {
                        $0.bundles = .with {
                            $0.upserted = update.bundles.map {
                                Wire.message(self.directory.limited($0))
                            }
                            $0.limits = update.bundles.compactMap {
                                self.directory.limits($0.trustDomain).map { Wire.agentMessage($0) }
                            }
                            $0.removed = update.removedBundles.map(\.name)
                            let own = update.bundles.first {
                                $0.trustDomain == self.directory.trustDomain
                            }
                            $0.confirm = own?.sequenceNumber ?? 0
                        }
                    })
            }
            // After the bundles, whose authorities sign the lists; before entries, which can be many.
            for message in Wire.revocationMessages(update) {
                try await outbox.write(.with { $0.revocations = message })
            }
            guard update.changesEntries else { continue }
            var start = 0
            repeat {
                let end = min(start + Self.pageSize, update.upserted.count)
                let page = update.upserted[start..<end]
                let isFirst = start == 0
                start = end
                let isLast = end >= update.upserted.count
                try await outbox.write(
                    .with {
                        $0.entries = .with {
                            $0.seq = update.seq
                            $0.snapshot = update.isSnapshot
                            $0.more = !isLast
                            $0.upserted = page.map { Wire.agentMessage($0) }
                            if isFirst { $0.removedIds = update.removedIDs }
                            $0.digest = Data(update.digest.bytes)
                        }
                    })
            } while start < update.upserted.count
        }
    }

    private func heartbeat(_ session: SyncSession, to outbox: SyncOutbox) async throws {
        while true {
            try await Task.sleep(for: Self.heartbeatInterval)
            guard let settled = session.settled else { continue }
            try await outbox.write(
                .with {
                    $0.heartbeat = .with {
                        $0.seq = settled.seq
                        $0.digest = Data(settled.digest.bytes)
                        $0.serverTime = Int64(Date().timeIntervalSince1970)
                    }
                })
        }
    }

    /// Ends the stream when the SVID that opened it ends.
    private static func expire(at expiresAt: Int64, _ agent: SPIFFEID) async throws {
        while true {
            let remaining = expiresAt - Int64(Date().timeIntervalSince1970)
            if remaining <= 0 {
                throw ServerError(
                    .permissionDenied, "agent \(agent) SVID is expired", agentReason: .expired)
            }
            // Wall-clock time may jump; look again every minute at least near the end.
            try await Task.sleep(for: .seconds(min(remaining, 60)))
        }
    }

    private func handle(
        _ message: Cygnet_Sync_V1_AgentMessage, agent: SPIFFEID, _ session: SyncSession,
        _ outbox: SyncOutbox, _ call: CallContext
    ) async throws {
        switch message.message {
        case .signX509(let batch): try await self.signX509(batch, agent: agent, outbox, call)
        case .signJwt(let wanted): try await self.signJWT(wanted, agent: agent, outbox, call)
        case .signWit(let batch): try await self.signWIT(batch, agent: agent, outbox, call)
        case .recordCustody(let wanted):
            try await self.record(wanted, agent: agent, outbox, call)
        case .workloadEnd(let end): try await self.end(end, agent: agent, outbox, call)
        case .resync:
            // A snapshot costs as much as many signatures.
            try await self.limits.waitInParts(100, address: call.remoteIPAddress)
            self.directory.resync(session)
        case .bundleConfirmation(let confirmation):
            session.confirm(bundle: confirmation.number, isReplaced: confirmation.replaced)
        case .revocationConfirmation(let confirmation):
            session.confirm(revocations: confirmation.number)
        case .hello: throw ServerError(.invalidArgument, "hello may be sent only once")
        case nil:
            throw ServerError(
                .invalidArgument, "unknown message; the agent may be newer than the server")
        }
    }

    private func signX509(
        _ batch: Cygnet_Sync_V1_SignX509Batch, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        guard batch.requests.count <= Self.maxBatch else {
            throw ServerError(
                .invalidArgument,
                "batch of \(batch.requests.count); at most \(Self.maxBatch) are accepted")
        }
        try await self.limits.waitInParts(batch.requests.count, address: call.remoteIPAddress)
        let wanted = batch.requests.map { request in
            Result { () throws(ServerError) -> X509Issuance in
                let key = try PublicKeys.parse([UInt8](request.publicKey))
                return try self.directory.issuance(
                    entryID: request.entryID, agent: agent, publicKey: key)
            }
        }
        let results: [Result<IssuedX509SVID, ServerError>]
        do {
            results = try await self.issuer.issueEach(
                wanted, entryIDs: batch.requests.map(\.entryID), agent: agent)
        } catch let error as ServerError {
            self.logger.error(
                "issuance refused",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error.message)"])
            results = wanted.map { _ in .failure(error) }
        }
        try await outbox.write(
            .with {
                $0.x509Results = .with {
                    $0.results = zip(batch.requests, results).map { request, result in
                        .with {
                            $0.requestID = request.requestID
                            switch result {
                            case .success(let svid):
                                $0.status = itemOK
                                $0.svid = Wire.message(svid)
                            case .failure(let error):
                                $0.status = error.itemStatus
                            }
                        }
                    }
                }
            })
    }

    private func signWIT(
        _ batch: Cygnet_Sync_V1_SignWITBatch, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        guard batch.requests.count <= Self.maxBatch else {
            throw ServerError(
                .invalidArgument,
                "batch of \(batch.requests.count); at most \(Self.maxBatch) are accepted")
        }
        try await self.limits.waitInParts(batch.requests.count, address: call.remoteIPAddress)
        let wanted = batch.requests.map { request in
            Result { () throws(ServerError) -> WITIssuance in
                try self.directory.witIssuance(
                    entryID: request.entryID, agent: agent,
                    key: try ConfirmationKey(
                        publicKeyDER: [UInt8](request.publicKey),
                        algorithm: request.signingAlgorithm))
            }
        }
        let results: [Result<IssuedWITSVID, ServerError>]
        do {
            results = try await self.issuer.issueEach(
                wanted, entryIDs: batch.requests.map(\.entryID), agent: agent)
        } catch let error as ServerError {
            self.logger.error(
                "issuance refused",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error.message)"])
            results = wanted.map { _ in .failure(error) }
        }
        try await outbox.write(
            .with {
                $0.witResults = .with {
                    $0.results = zip(batch.requests, results).map { request, result in
                        .with {
                            $0.requestID = request.requestID
                            switch result {
                            case .success(let svid):
                                $0.status = itemOK
                                $0.svid = Wire.message(svid)
                            case .failure(let error):
                                $0.status = error.itemStatus
                            }
                        }
                    }
                }
            })
    }

    /// Answers only when the statement is in the ledger.
    private func record(
        _ request: Cygnet_Sync_V1_RecordCustody, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        try await self.limits.waitForCustody(
            bytes: request.statement.utf8.count + request.receipt.utf8.count,
            address: call.remoteIPAddress)
        let status: Spire_Api_Types_Status
        do throws(ServerError) {
            try await self.custody.record(
                statement: request.statement, receipt: request.receipt, agent: agent)
            status = itemOK
        } catch {
            self.logger.warning(
                "custody statement refused",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error.message)"])
            status = error.itemStatus
        }
        try await outbox.write(
            .with {
                $0.custodyResult = .with {
                    $0.requestID = request.requestID
                    $0.status = status
                }
            })
    }

    /// Answers when what the agent had obtained for the entry is revoked.
    private func end(
        _ request: Cygnet_Sync_V1_WorkloadEnd, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        let cost = self.revocations.costOfEnd(entryID: request.entryID, agent: agent)
        try await self.limits.waitForEnd(cost: cost, address: call.remoteIPAddress)
        let status: Spire_Api_Types_Status
        do {
            try await self.revocations.workloadEnded(entryID: request.entryID, agent: agent)
            status = itemOK
        } catch let error as ServerError {
            self.logger.debug(
                "end of a workload has no effect",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error.message)"])
            status = error.itemStatus
        } catch {
            self.logger.error(
                "end of a workload has no effect yet",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error)"])
            status =
                ServerError(.unavailable, "the revocation cannot be stored now").itemStatus
        }
        try await outbox.write(
            .with {
                $0.workloadEndResult = .with {
                    $0.requestID = request.requestID
                    $0.status = status
                }
            })
    }

    private func signJWT(
        _ request: Cygnet_Sync_V1_SignJWT, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        try await self.limits.waitInParts(1, address: call.remoteIPAddress)
        let result: Result<IssuedJWTSVID, ServerError>
        do {
            let issuance: JWTIssuance
            do throws(ServerError) {
                issuance = try self.directory.jwtIssuance(
                    entryID: request.entryID, agent: agent,
                    audience: try SVIDService.audience(request.audience))
            } catch {
                self.issuer.refuse(
                    error, .jwt, entryID: request.entryID, node: agent, caller: agent.string)
                throw error
            }
            result = .success(try await self.issuer.issue(issuance, requestedBy: agent.string))
        } catch let error as ServerError {
            result = .failure(error)
        }
        try await outbox.write(
            .with {
                $0.jwtResult = .with {
                    $0.requestID = request.requestID
                    switch result {
                    case .success(let svid):
                        $0.status = itemOK
                        $0.svid = Wire.message(svid)
                    case .failure(let error):
                        $0.status = error.itemStatus
                    }
                }
            })
    }
}

/// The agent's messages, first read by the call's task and then, for good, by one child of it.
// @unchecked: the iterator is used by one task at a time; the hand-over is the start of the child task.
private final class SyncInbox: @unchecked Sendable {
    private var iterator: RPCAsyncSequence<Cygnet_Sync_V1_AgentMessage, any Error>.AsyncIterator

    init(_ sequence: RPCAsyncSequence<Cygnet_Sync_V1_AgentMessage, any Error>) {
        self.iterator = sequence.makeAsyncIterator()
    }

    func next() async throws -> Cygnet_Sync_V1_AgentMessage? { try await self.iterator.next() }
}

/// The way back to the agent, for several tasks: one message at a time, in the order of the calls.
private actor SyncOutbox {
    private let writer: RPCWriter<Cygnet_Sync_V1_ServerMessage>
    private var isWriting = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    private let session: SyncSession

    init(_ writer: RPCWriter<Cygnet_Sync_V1_ServerMessage>, _ session: SyncSession) {
        self.writer = writer
        self.session = session
    }

    /// - Throws: why the session has ended, when it has: what was signed in the meantime stays here.
    func write(_ message: Cygnet_Sync_V1_ServerMessage) async throws {
        if self.isWriting {
            await withCheckedContinuation { self.waiting.append($0) }
        }
        self.isWriting = true
        defer {
            if self.waiting.isEmpty {
                self.isWriting = false
            } else {
                self.waiting.removeFirst().resume()
            }
        }
        try self.session.requireOpen()
        try await self.writer.write(message)
    }
}
