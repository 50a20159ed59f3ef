import ControlPlaneProto
import Foundation
import GRPCCore
import Logging
import SPIFFE
import ServerCore
import SwiftProtobuf

/// `cygnet.sync.v1.Sync`: one stream per agent for entries, bundles and signing.
struct SyncService: Cygnet_Sync_V1_Sync.SimpleServiceProtocol {
    /// Entries per message of a snapshot.
    private static let pageSize = 1_000
    private static let heartbeatInterval = Duration.seconds(30)

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
}
