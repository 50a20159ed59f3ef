import AgentCore
import ControlPlaneProto
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import NIOConcurrencyHelpers
import SPIFFE
import SwiftProtobuf

/// A session with a server that only answers: entries and bundles are asked for every interval,
/// SVIDs when they are needed, all with SPIRE's methods.
struct PollSession {
    /// The most SPIRE's agents ask for in one call.
    private static let batchSize = 500

    let client: GRPCServerConnection.Client
    let trustDomain: TrustDomain
    let agentVersion: String
    let interval: Duration
    let options: CallOptions
    let logger: Logger

    /// Runs until a call fails.
    func run(_ session: any SyncSession) async throws {
        try await self.postStatus()
        try await self.synchronise(session)
        let work = session.begin(isPush: false)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while true {
                    // Up to a tenth early, so that agents do not ask in step.
                    try await Task.sleep(for: self.interval * Double.random(in: 0.9...1))
                    try await self.synchronise(session)
                }
            }
            group.addTask {
                for await _ in work {
                    while true {
                        let requests = session.takeRequests(limit: Self.batchSize)
                        if requests.isEmpty { break }
                        try await self.serve(requests, session)
                    }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func postStatus() async throws {
        let agents = Spire_Api_Server_Agent_V1_Agent.Client(wrapping: self.client)
        do {
            _ = try await agents.postStatus(
                .with { $0.agentVersion = self.agentVersion }, options: self.options)
        } catch let error as RPCError where error.code == .unimplemented {
            // Older servers do not have it.
        }
    }

    // MARK: Entries and bundles

    private func synchronise(_ session: any SyncSession) async throws {
        session.receive(.entries(try await self.entries(session)))
        try await self.receiveBundles(session)
    }

    private func entries(_ session: any SyncSession) async throws -> EntryChange {
        do { return try await self.syncEntries(session) } catch let error as RPCError
            where error.code == .unimplemented
        {
            let entries = Spire_Api_Server_Entry_V1_Entry.Client(wrapping: self.client)
            let response = try await entries.getAuthorizedEntries(
                .with { $0.outputMask = AuthorizedEntry.mask }, options: self.options)
            return EntryChange(
                isSnapshot: true, upserted: WireParsing.entries(response.entries, self.logger))
        }
    }

    /// SPIRE's sparse synchronisation. Few entries come at once; of many the server first sends the
    /// revisions, and the agent asks for those that it does not have.
    private func syncEntries(_ session: any SyncSession) async throws -> EntryChange {
        let entries = Spire_Api_Server_Entry_V1_Entry.Client(wrapping: self.client)
        let (asks, askFeed) = AsyncStream.makeStream(of: [String].self)
        return try await entries.syncAuthorizedEntries(options: self.options) { writer in
            try await writer.write(.with { $0.outputMask = AuthorizedEntry.mask })
            for await ids in asks { try await writer.write(.with { $0.ids = ids }) }
        } onResponse: { response in
            defer { askFeed.finish() }
            var messages = response.messages.makeAsyncIterator()
            guard var message = try await messages.next() else {
                throw ServerFailure(
                    .unavailable, "the server ended synchronisation without an answer")
            }
            if message.entryRevisions.isEmpty {
                var all = message.entries
                while message.more, let next = try await messages.next() {
                    all += next.entries
                    message = next
                }
                return EntryChange(
                    isSnapshot: true, upserted: WireParsing.entries(all, self.logger))
            }
            let pageSize = message.entryRevisions.count
            var revisions = message.entryRevisions.map { ($0.id, $0.revisionNumber, $0.createdAt) }
            while message.more {
                guard let next = try await messages.next() else {
                    throw ServerFailure(.unavailable, "the server broke off its list of revisions")
                }
                revisions += next.entryRevisions.map { ($0.id, $0.revisionNumber, $0.createdAt) }
                message = next
            }
            let (needed, removed) = session.outdated(against: revisions)
            var found: [Spire_Api_Types_Entry] = []
            for start in stride(from: 0, to: needed.count, by: pageSize) {
                askFeed.yield(Array(needed[start..<min(start + pageSize, needed.count)]))
                repeat {
                    guard let next = try await messages.next() else {
                        throw ServerFailure(
                            .unavailable, "the server broke off its list of entries")
                    }
                    found += next.entries
                    message = next
                } while message.more
            }
            return EntryChange(
                upserted: WireParsing.entries(found, self.logger), removedIDs: removed)
        }
    }

    private func receiveBundles(_ session: any SyncSession) async throws {
        let bundles = Spire_Api_Server_Bundle_V1_Bundle.Client(wrapping: self.client)
        var messages = [try await bundles.getBundle(.init(), options: self.options)]
        var isComplete = true
        for trustDomain in session.federatedTrustDomains.sorted() {
            do {
                messages.append(
                    try await bundles.getFederatedBundle(
                        .with { $0.trustDomain = trustDomain.name }, options: self.options))
            } catch let error as RPCError where error.code == .notFound {
                continue
            } catch let error as RPCError where error.code != .permissionDenied {
                // What is held of it stays; the next round may do better.
                isComplete = false
                self.logger.warning(
                    "cannot fetch a federated bundle",
                    metadata: ["trust_domain": "\(trustDomain)", LogKeys.error: "\(error)"])
            }
        }
        session.receive(
            .bundles(
                BundleChange(
                    isSnapshot: isComplete, upserted: WireParsing.bundles(messages, self.logger))))
    }

    // MARK: Signing

    private func serve(_ requests: [SessionRequest], _ session: any SyncSession) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for request in requests {
                group.addTask {
                    switch request {
                    case .x509(let batch): try await self.sign(batch, session)
                    case .wit(let batch): try await self.sign(batch, session)
                    case .jwt(let requestID, let entryID, let audience):
                        try await self.sign(requestID, entryID, audience, session)
                    case .resync: try await self.synchronise(session)
                    case .custody(let requestID, _, _):
                        session.receive(
                            .custody(
                                requestID: requestID,
                                .failure(
                                    IssuanceRefusal(
                                        code: 12, message: WorkloadRefusal.noLedger.message))))
                    case .workloadEnd(let requestID, _):
                        session.receive(
                            .workloadEnd(
                                requestID: requestID,
                                .failure(
                                    IssuanceRefusal(
                                        code: 12, message: "a server that is polled is told nothing"
                                    ))))
                    // Servers that are polled do not ask.
                    case .confirmBundle, .confirmRevocations: break
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    private func sign(_ batch: [SessionRequest.X509], _ session: any SyncSession) async throws {
        let svids = Spire_Api_Server_Svid_V1_SVID.Client(wrapping: self.client)
        let response = try await svids.batchNewX509SVID(
            .with {
                $0.params = try batch.map { request in
                    let csr = try SigningRequest.der(for: request.key.privateKey)
                    return .with {
                        $0.entryID = request.entryID
                        $0.csr = Data(csr)
                    }
                }
            }, options: self.options)
        for (request, result) in zip(batch, response.results) {
            session.receive(
                .x509(
                    requestID: request.requestID,
                    WireParsing.chain(result.status, result.svid, isSet: result.hasSvid)))
        }
        for request in batch.dropFirst(response.results.count) {
            let refusal = IssuanceRefusal(code: 13, message: "the server did not answer")
            session.receive(.x509(requestID: request.requestID, .failure(refusal)))
        }
    }

    private func sign(_ batch: [SessionRequest.WIT], _ session: any SyncSession) async throws {
        let svids = Spire_Api_Server_Svid_V1_SVID.Client(wrapping: self.client)
        var answered = 0
        do {
            let response = try await svids.batchNewWITSVID(
                .with {
                    $0.params = batch.map { request in
                        .with {
                            let key = request.key.confirmationKey
                            $0.entryID = request.entryID
                            $0.publicKey = Data(key.publicKey.publicKeyDER)
                            $0.signingAlgorithm = key.algorithm.rawValue
                        }
                    }
                }, options: self.options)
            for (request, result) in zip(batch, response.results) {
                session.receive(
                    .wit(
                        requestID: request.requestID,
                        WireParsing.witToken(result.status, result.svid, isSet: result.hasSvid)))
            }
            answered = response.results.count
        } catch let error as RPCError
            where error.code != .unavailable && error.code != .permissionDenied
        {
            // Incubating: a server that refuses it is a good server for all else.
            self.logger.warning(
                "the server does not issue WIT-SVIDs", metadata: [LogKeys.error: "\(error.message)"]
            )
        }
        for request in batch.dropFirst(answered) {
            let refusal = IssuanceRefusal(code: 13, message: "the server did not answer")
            session.receive(.wit(requestID: request.requestID, .failure(refusal)))
        }
    }

    private func sign(
        _ requestID: UInt64, _ entryID: String, _ audience: [String], _ session: any SyncSession
    ) async throws {
        let svids = Spire_Api_Server_Svid_V1_SVID.Client(wrapping: self.client)
        do {
            let response = try await svids.newJWTSVID(
                .with {
                    $0.entryID = entryID
                    $0.audience = audience
                }, options: self.options)
            session.receive(
                .jwt(
                    requestID: requestID,
                    WireParsing.token(.init(), response.svid, isSet: response.hasSvid)))
        } catch let error as RPCError
            where error.code != .unavailable && error.code != .permissionDenied
        {
            // One token that cannot be had is no reason to end the session.
            let refusal = IssuanceRefusal(code: error.code.rawValue, message: error.message)
            session.receive(.jwt(requestID: requestID, .failure(refusal)))
        }
    }
}
