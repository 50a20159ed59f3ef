import AgentCore
import ControlPlaneProto
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import NIOConcurrencyHelpers
import SPIFFE
import SwiftProtobuf

/// A session over `cygnet.sync.v1`: one stream that carries everything.
struct PushSession {
    /// SVIDs asked for in one message: small enough that the first answer of a burst does not wait
    /// for the last key to be generated.
    private static let batchSize = 64
    /// The server sends a heartbeat every 30 seconds; without a word for this long it is gone.
    private static let silenceLimit = Duration.seconds(100)

    let client: GRPCServerConnection.Client
    let agentVersion: String
    let logger: Logger

    /// Runs until the stream ends.
    ///
    /// - Parameter begun: Called when the server has taken up the stream.
    /// - Throws: `RPCError`, with `unimplemented` when the server does not know the service.
    func run(
        _ session: any SyncSession, begun: @escaping @Sendable () -> Void
    ) async throws {
        let sync = Cygnet_Sync_V1_Sync.Client(wrapping: self.client)
        var options = CallOptions.defaults
        options.waitForReady = false
        options.maxResponseMessageBytes = 64 * 1024 * 1024
        let (outbox, outboxFeed) = AsyncStream.makeStream(of: Cygnet_Sync_V1_AgentMessage.self)
        let hello = Cygnet_Sync_V1_AgentMessage.with {
            $0.hello = .with {
                $0.agentVersion = self.agentVersion
                $0.digest = session.digest.map { Data($0.bytes) } ?? Data()
            }
        }
        try await sync.connect(options: options) { writer in
            try await writer.write(hello)
            for await message in outbox { try await writer.write(message) }
        } onResponse: { response in
            defer { outboxFeed.finish() }
            let messages = try response.accepted.get()
            begun()
            let work = session.begin(isPush: true)
            let lastWord = NIOLockedValueBox(ContinuousClock.now)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for await _ in work { Self.send(session, outboxFeed) }
                }
                group.addTask { try await Self.watch(lastWord) }
                group.addTask {
                    var receiver = Receiver(session: session, logger: self.logger)
                    for try await part in messages.bodyParts {
                        guard case .message(let message) = part else { continue }
                        lastWord.withLockedValue { $0 = .now }
                        receiver.receive(message)
                    }
                }
                defer { group.cancelAll() }
                // Whoever ends first ends the session: the stream, the silence, or the session's
                // owner.
                try await group.next()
            }
        }
    }

    private static func send(
        _ session: any SyncSession, _ outbox: AsyncStream<Cygnet_Sync_V1_AgentMessage>.Continuation
    ) {
        while true {
            let requests = session.takeRequests(limit: Self.batchSize)
            if requests.isEmpty { return }
            for request in requests {
                outbox.yield(
                    .with { message in
                        switch request {
                        case .x509(let batch):
                            message.signX509 = .with {
                                $0.requests = batch.map { one in
                                    .with {
                                        $0.requestID = one.requestID
                                        $0.entryID = one.entryID
                                        $0.publicKey = Data(one.key.publicKeyDER)
                                    }
                                }
                            }
                        case .wit(let batch):
                            message.signWit = .with {
                                $0.requests = batch.map { one in
                                    .with {
                                        let key = one.key.confirmationKey
                                        $0.requestID = one.requestID
                                        $0.entryID = one.entryID
                                        $0.publicKey = Data(key.publicKey.publicKeyDER)
                                        $0.signingAlgorithm = key.algorithm.rawValue
                                    }
                                }
                            }
                        case .jwt(let requestID, let entryID, let audience):
                            message.signJwt = .with {
                                $0.requestID = requestID
                                $0.entryID = entryID
                                $0.audience = audience
                            }
                        case .resync:
                            message.resync = .init()
                        case .confirmBundle(let number, let isReplaced):
                            message.bundleConfirmation = .with {
                                $0.number = number
                                $0.replaced = isReplaced
                            }
                        case .confirmRevocations(let number):
                            message.revocationConfirmation = .with { $0.number = number }
                        case .custody(let requestID, let statement, let receipt):
                            message.recordCustody = .with {
                                $0.requestID = requestID
                                $0.statement = statement.token
                                $0.receipt = receipt?.token ?? ""
                            }
                        case .workloadEnd(let requestID, let entryID):
                            message.workloadEnd = .with {
                                $0.requestID = requestID
                                $0.entryID = entryID
                            }
                        }
                    })
            }
        }
    }

    private static func watch(_ lastWord: NIOLockedValueBox<ContinuousClock.Instant>) async throws {
        while true {
            let silence = lastWord.withLockedValue { $0 }.duration(to: .now)
            if silence >= Self.silenceLimit {
                throw ServerFailure(.unavailable, "the server has not been heard of for \(silence)")
            }
            try await Task.sleep(for: Self.silenceLimit - silence)
        }
    }

    /// Turns messages into events and puts the pages of a change together.
    private struct Receiver {
        let session: any SyncSession
        let logger: Logger
        private var pending: EntryChange?
        private var pendingRevocations = JoinedRevocations()

        init(session: any SyncSession, logger: Logger) {
            self.session = session
            self.logger = logger
        }

        mutating func receive(_ message: Cygnet_Sync_V1_ServerMessage) {
            switch message.message {
            case .entries(let delta):
                self.receive(delta)
            case .bundles(let update):
                self.session.receive(
                    .bundles(
                        BundleChange(
                            upserted: WireParsing.bundles(
                                update.upserted, limits: update.limits, self.logger),
                            removed: update.removed.compactMap { try? TrustDomain(nameOrID: $0) },
                            confirmation: update.confirm)))
            case .x509Results(let results):
                for result in results.results {
                    self.session.receive(
                        .x509(
                            requestID: result.requestID,
                            WireParsing.chain(result.status, result.svid, isSet: result.hasSvid)))
                }
            case .witResults(let results):
                for result in results.results {
                    self.session.receive(
                        .wit(
                            requestID: result.requestID,
                            WireParsing.witToken(result.status, result.svid, isSet: result.hasSvid))
                    )
                }
            case .jwtResult(let result):
                self.session.receive(
                    .jwt(
                        requestID: result.requestID,
                        WireParsing.token(result.status, result.svid, isSet: result.hasSvid)))
            case .custodyResult(let result):
                self.session.receive(
                    .custody(
                        requestID: result.requestID, WireParsing.recorded(result.status)))
            case .workloadEndResult(let result):
                self.session.receive(
                    .workloadEnd(requestID: result.requestID, WireParsing.recorded(result.status)))
            case .heartbeat(let heartbeat):
                // In the middle of a change the digests cannot agree.
                self.session.receive(
                    .heartbeat(
                        digest: self.pending == nil ? EntryDigest(bytes: heartbeat.digest) : nil,
                        serverTime: heartbeat.serverTime == 0
                            ? nil : Date(timeIntervalSince1970: Double(heartbeat.serverTime))))
            case .revocations(let update):
                if let change = self.pendingRevocations.add(update, self.logger) {
                    self.session.receive(.revocations(change))
                }
            case nil:
                self.logger.debug("ignored a message that this version does not know")
            }
        }

        private mutating func receive(_ delta: Cygnet_Sync_V1_EntryDelta) {
            var change = self.pending ?? EntryChange(isSnapshot: delta.snapshot)
            change.upserted += WireParsing.entries(delta.upserted, self.logger)
            change.removedIDs += delta.removedIds
            change.digest = EntryDigest(bytes: delta.digest)
            if delta.more {
                self.pending = change
            } else {
                self.pending = nil
                self.session.receive(.entries(change))
            }
        }
    }
}
