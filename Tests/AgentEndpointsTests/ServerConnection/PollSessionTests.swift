import AgentCore
import ControlPlaneProto
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import GRPCProtobuf
import Logging
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import SPIFFEGRPC
import SwiftProtobuf
import Testing

@testable import AgentEndpoints

/// A server that knows SPIRE's methods only, as much of them as an agent uses.
private struct OldServer: RegistrableRPCService {
    /// Entries per message.
    var pageSize = 500
    var knowsSync = true
    var knowsWIT = true
    let entries: NIOLockedValueBox<[Spire_Api_Types_Entry]>
    let asked = NIOLockedValueBox<[[String]]>([])

    init(_ ids: [String]) {
        self.entries = NIOLockedValueBox(ids.map { Self.entry($0) })
    }

    static func entry(_ id: String, revision: Int64 = 0) -> Spire_Api_Types_Entry {
        .with {
            $0.id = id
            $0.spiffeID = .with {
                $0.trustDomain = "acme.test"
                $0.path = "/" + id
            }
            $0.selectors = [
                .with {
                    $0.type = "unix"
                    $0.value = "uid:1"
                }
            ]
            $0.federatesWith = ["partner.test", "missing.test"]
            $0.revisionNumber = revision
            $0.createdAt = 7
        }
    }

    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        typealias EntryMethod = Spire_Api_Server_Entry_V1_Entry.Method
        if self.knowsSync {
            self.register(EntryMethod.SyncAuthorizedEntries.descriptor, &router) {
                try await self.sync($0, $1)
            }
        }
        self.answer(EntryMethod.GetAuthorizedEntries.descriptor, &router) {
            (_: Spire_Api_Server_Entry_V1_GetAuthorizedEntriesRequest) in
            let entries = self.entries.withLockedValue { $0 }
            return Spire_Api_Server_Entry_V1_GetAuthorizedEntriesResponse.with {
                $0.entries = entries
            }
        }
        self.answer(Spire_Api_Server_Bundle_V1_Bundle.Method.GetBundle.descriptor, &router) {
            (_: Spire_Api_Server_Bundle_V1_GetBundleRequest) in
            Spire_Api_Types_Bundle.with {
                $0.trustDomain = "acme.test"
                $0.x509Authorities = [.with { $0.asn1 = Data([1]) }]
            }
        }
        self.answer(
            Spire_Api_Server_Bundle_V1_Bundle.Method.GetFederatedBundle.descriptor, &router
        ) { (request: Spire_Api_Server_Bundle_V1_GetFederatedBundleRequest) in
            if request.trustDomain == "missing.test" {
                throw RPCError(code: .notFound, message: "bundle not found")
            }
            return Spire_Api_Types_Bundle.with { $0.trustDomain = request.trustDomain }
        }
        self.answer(Spire_Api_Server_Svid_V1_SVID.Method.BatchNewX509SVID.descriptor, &router) {
            (request: Spire_Api_Server_Svid_V1_BatchNewX509SVIDRequest) in
            Spire_Api_Server_Svid_V1_BatchNewX509SVIDResponse.with {
                $0.results = request.params.map { one in
                    .with {
                        if one.entryID == "denied" {
                            $0.status = .with {
                                $0.code = 5
                                $0.message = "entry not found"
                            }
                        } else {
                            $0.status = .with { $0.message = "OK" }
                            $0.svid = .with { $0.certChain = [one.csr] }
                        }
                    }
                }
            }
        }
        self.answer(Spire_Api_Server_Svid_V1_SVID.Method.BatchNewWITSVID.descriptor, &router) {
            (request: Spire_Api_Server_Svid_V1_BatchNewWITSVIDRequest)
                -> Spire_Api_Server_Svid_V1_BatchNewWITSVIDResponse in
            guard self.knowsWIT else {
                throw RPCError(code: .unimplemented, message: "no WIT-SVIDs")
            }
            return Spire_Api_Server_Svid_V1_BatchNewWITSVIDResponse.with {
                $0.results = request.params.map { one in
                    .with {
                        $0.status = .with { $0.code = one.entryID == "denied" ? 5 : 0 }
                        if one.entryID != "denied" {
                            $0.svid = .with { $0.token = one.signingAlgorithm }
                        }
                    }
                }
            }
        }
        self.answer(Spire_Api_Server_Svid_V1_SVID.Method.NewJWTSVID.descriptor, &router) {
            (_: Spire_Api_Server_Svid_V1_NewJWTSVIDRequest)
                -> Spire_Api_Server_Svid_V1_NewJWTSVIDResponse in
            throw RPCError(code: .notFound, message: "entry not found")
        }
    }

    private func sync(
        _ messages: RPCAsyncSequence<
            Spire_Api_Server_Entry_V1_SyncAuthorizedEntriesRequest, any Error
        >,
        _ writer: RPCWriter<Spire_Api_Server_Entry_V1_SyncAuthorizedEntriesResponse>
    ) async throws {
        let all = self.entries.withLockedValue { $0 }
        var isFirst = true
        for try await request in messages {
            if isFirst {
                isFirst = false
                #expect(request.ids.isEmpty && request.outputMask.revisionNumber)
                if all.count <= self.pageSize {
                    return try await writer.write(.with { $0.entries = all })
                }
                for start in stride(from: 0, to: all.count, by: self.pageSize) {
                    let page = all[start..<min(start + self.pageSize, all.count)]
                    try await writer.write(
                        .with {
                            $0.entryRevisions = page.map { entry in
                                .with {
                                    $0.id = entry.id
                                    $0.revisionNumber = entry.revisionNumber
                                    $0.createdAt = entry.createdAt
                                }
                            }
                            $0.more = start + self.pageSize < all.count
                        })
                }
                continue
            }
            self.asked.withLockedValue { $0.append(request.ids) }
            let found = all.filter { request.ids.contains($0.id) }
            // In two messages, to see that the agent waits for the last.
            try await writer.write(
                .with {
                    $0.entries = Array(found.prefix(1))
                    $0.more = true
                })
            try await writer.write(.with { $0.entries = Array(found.dropFirst()) })
        }
    }

    private func register<Request: Message, Response: Message, Transport: ServerTransport>(
        _ method: MethodDescriptor, _ router: inout RPCRouter<Transport>,
        _ body:
            @escaping @Sendable (RPCAsyncSequence<Request, any Error>, RPCWriter<Response>)
            async throws ->
            Void
    ) {
        router.registerHandler(
            forMethod: method, deserializer: ProtobufDeserializer<Request>(),
            serializer: ProtobufSerializer<Response>()
        ) { request, _ in
            StreamingServerResponse { writer in
                try await body(request.messages, writer)
                return [:]
            }
        }
    }

    private func answer<Request: Message, Response: Message, Transport: ServerTransport>(
        _ method: MethodDescriptor, _ router: inout RPCRouter<Transport>,
        _ body: @escaping @Sendable (Request) async throws -> Response
    ) {
        self.register(method, &router) {
            (messages: RPCAsyncSequence<Request, any Error>, writer: RPCWriter<Response>) in
            for try await message in messages {
                try await writer.write(try await body(message))
            }
        }
    }
}

/// Records what it is told and asks for what the test wants.
private final class RecordingSession: SyncSession {
    struct State {
        var set = EntrySet()
        var events: [String] = []
        var requests: [SessionRequest] = []
        var bundles: [String] = []
        var work: AsyncStream<Void>.Continuation?
    }

    let state = NIOLockedValueBox(State())
    private let onEvent: @Sendable (ServerEvent) -> Void

    init(
        requests: [SessionRequest] = [],
        onEvent: @escaping @Sendable (ServerEvent) -> Void = { _ in }
    ) {
        self.onEvent = onEvent
        self.state.withLockedValue { $0.requests = requests }
    }

    var digest: EntryDigest? { nil }
    var federatedTrustDomains: Set<TrustDomain> {
        self.state.withLockedValue { $0.set.federatedTrustDomains }
    }

    func outdated(
        against revisions: [(id: String, revision: Int64, createdAt: Int64)]
    ) -> (needed: [String], removed: [String]) {
        self.state.withLockedValue { $0.set.outdated(against: revisions) }
    }

    func begin(isPush: Bool) -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        continuation.yield()
        self.state.withLockedValue { $0.work = continuation }
        return stream
    }

    func takeRequests(limit: Int) -> [SessionRequest] {
        self.state.withLockedValue { state in
            defer { state.requests = [] }
            return state.requests
        }
    }

    func receive(_ event: ServerEvent) {
        self.state.withLockedValue { state in
            switch event {
            case .entries(let change): _ = state.set.apply(change)
            case .bundles(let change): state.bundles = change.upserted.map(\.trustDomain.name)
            case .x509(let id, .success(let chain)):
                state.events.append("x509 \(id) \(chain.count)")
            case .x509(let id, .failure(let refusal)):
                state.events.append("x509 \(id) \(refusal.code)")
            case .jwt(let id, .success): state.events.append("jwt \(id)")
            case .jwt(let id, .failure(let refusal)):
                state.events.append("jwt \(id) \(refusal.code)")
            case .wit(let id, .success(let token)): state.events.append("wit \(id) \(token)")
            case .wit(let id, .failure(let refusal)):
                state.events.append("wit \(id) \(refusal.code)")
            case .heartbeat, .revocations: break
            case .workloadEnd(let id, .success): state.events.append("end \(id)")
            case .workloadEnd(let id, .failure(let refusal)):
                state.events.append("end \(id) \(refusal.code)")
            case .custody(let id, .success): state.events.append("custody \(id)")
            case .custody(let id, .failure(let refusal)):
                state.events.append("custody \(id) \(refusal.code)")
            }
        }
        self.onEvent(event)
    }
}

@Suite("Synchronisation with a server that does not push", .timeLimit(.minutes(1)))
struct PollSessionTests {
    /// Runs sessions until `until` is true.
    private func poll(
        _ server: OldServer, _ session: RecordingSession,
        until: @escaping @Sendable (RecordingSession.State) -> Bool
    ) async throws {
        let path = NSTemporaryDirectory() + "cygnet-" + UUID().uuidString.prefix(8) + ".sock"
        defer { unlink(path) }
        let host = GRPCServer(
            transport: SPIFFEServerTransport(listener: .unixSocket(path: path, mode: 0o600)),
            services: [server])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await host.serve() }
            _ = await host.transport.boundPort
            let transport = try HTTP2ClientTransport.Posix(
                target: .unixDomainSocket(path: path, authority: "localhost"),
                transportSecurity: .plaintext,
                config: .defaults { $0.backoff.initial = .milliseconds(10) })
            try await withGRPCClient(transport: transport) { client in
                var options = CallOptions.defaults
                options.waitForReady = true
                let poll = PollSession(
                    client: client, trustDomain: try TrustDomain("acme.test"), agentVersion: "test",
                    interval: .milliseconds(20), options: options,
                    logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
                try await withThrowingTaskGroup(of: Void.self) { inner in
                    inner.addTask { try await poll.run(session) }
                    inner.addTask {
                        while !session.state.withLockedValue({ until($0) }) {
                            try await Task.sleep(for: .milliseconds(5))
                        }
                    }
                    try await inner.next()
                    inner.cancelAll()
                }
            }
            host.beginGracefulShutdown()
            group.cancelAll()
        }
    }

    @Test("few entries come at once; PostStatus and a federated bundle may be missing")
    func few() async throws {
        let session = RecordingSession()
        try await self.poll(OldServer(["a", "b"]), session) {
            $0.set.count == 2 && $0.bundles.count == 2
        }
        #expect(session.state.withLockedValue { $0.bundles } == ["acme.test", "partner.test"])
    }

    @Test("of many entries only those that are new or changed are asked for, in pages")
    func sparse() async throws {
        var server = OldServer((0..<10).map { "e\($0)" })
        server.pageSize = 3
        let session = RecordingSession()
        try await self.poll(server, session) { $0.set.count == 10 }
        #expect(server.asked.withLockedValue { $0.prefix(4).map(\.count) } == [3, 3, 3, 1])
        server.asked.withLockedValue { $0 = [] }
        server.entries.withLockedValue { entries in
            entries.removeFirst()
            entries[0] = OldServer.entry("e1", revision: 5)
            entries.append(OldServer.entry("new"))
        }
        try await self.poll(server, session) { $0.set[id: "new"] != nil }
        #expect(server.asked.withLockedValue { $0.first } == ["e1", "new"])
        session.state.withLockedValue { state in
            #expect(state.set.count == 10)
            #expect(state.set[id: "e0"] == nil)
            #expect(state.set[id: "e1"]?.revision == 5)
        }
    }

    @Test("a server that does not know SyncAuthorizedEntries is asked for all entries")
    func older() async throws {
        var server = OldServer(["a"])
        server.knowsSync = false
        let session = RecordingSession()
        try await self.poll(server, session) { $0.set.count == 1 }
    }

    @Test("SVIDs are asked for in a batch, each answered for itself; one refusal ends nothing")
    func signing() async throws {
        let session = RecordingSession(requests: [
            .x509([
                .init(requestID: 1, entryID: "a", key: try WorkloadKey(type: .ecP256)),
                .init(requestID: 2, entryID: "denied", key: try WorkloadKey(type: .ecP256)),
            ]), .jwt(requestID: 3, entryID: "a", audience: ["x"]),
        ])
        try await self.poll(OldServer(["a"]), session) { $0.events.count == 3 }
        #expect(
            Set(session.state.withLockedValue { $0.events }) == ["x509 1 1", "x509 2 5", "jwt 3 5"])
    }

    @Test("WIT-SVIDs are asked for in a batch; a server without them is a good server for all else")
    func witSigning() async throws {
        for knowsWIT in [true, false] {
            let session = RecordingSession(requests: [
                .wit([
                    .init(requestID: 1, entryID: "a", key: try ProofKey(generatingFor: .es256)),
                    .init(
                        requestID: 2, entryID: "denied", key: try ProofKey(generatingFor: .es256)),
                ]), .jwt(requestID: 3, entryID: "a", audience: ["x"]),
            ])
            var server = OldServer(["a"])
            server.knowsWIT = knowsWIT
            try await self.poll(server, session) { $0.events.count == 3 }
            let want: Set<String> =
                knowsWIT
                ? ["wit 1 ES256", "wit 2 5", "jwt 3 5"] : ["wit 1 13", "wit 2 13", "jwt 3 5"]
            #expect(Set(session.state.withLockedValue { $0.events }) == want)
        }
    }
}
