import ControlPlaneProto
import Crypto
import Foundation
import GRPCCore
import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftASN1
import SwiftProtobuf
import Testing
import Transparency
import X509

private typealias AgentMessage = Cygnet_Sync_V1_AgentMessage
private typealias ServerMessage = Cygnet_Sync_V1_ServerMessage

/// The agent's side of one stream, in a test.
private final class SyncStream {
    private let outgoing: AsyncStream<AgentMessage>.Continuation
    private var incoming: RPCAsyncSequence<ServerMessage, any Error>.AsyncIterator
    private var held: [ServerMessage] = []

    init(
        _ outgoing: AsyncStream<AgentMessage>.Continuation,
        _ incoming: RPCAsyncSequence<ServerMessage, any Error>
    ) {
        self.outgoing = outgoing
        self.incoming = incoming.makeAsyncIterator()
    }

    func send(_ change: (inout AgentMessage) -> Void) {
        var message = AgentMessage()
        change(&message)
        self.outgoing.yield(message)
    }

    func close() { self.outgoing.finish() }

    /// The next message that `pick` takes; others are kept aside for later calls.
    func next<Picked>(_ pick: (ServerMessage) -> Picked?) async throws -> Picked {
        if let index = self.held.firstIndex(where: { pick($0) != nil }),
            let picked = pick(self.held.remove(at: index))
        {
            return picked
        }
        while let message = try await self.incoming.next() {
            if let picked = pick(message) { return picked }
            self.held.append(message)
        }
        throw StreamEnded()
    }

    func entries() async throws -> Cygnet_Sync_V1_EntryDelta {
        try await self.next {
            $0.message.flatMap { if case .entries(let delta) = $0 { delta } else { nil } }
        }
    }

    func bundles() async throws -> Cygnet_Sync_V1_BundleUpdate {
        try await self.next {
            $0.message.flatMap { if case .bundles(let update) = $0 { update } else { nil } }
        }
    }

    func x509Results() async throws -> [Cygnet_Sync_V1_SignX509Result] {
        try await self.next {
            $0.message.flatMap {
                if case .x509Results(let results) = $0 { results.results } else { nil }
            }
        }
    }

    func witResults() async throws -> [Cygnet_Sync_V1_SignWITResult] {
        try await self.next {
            $0.message.flatMap {
                if case .witResults(let results) = $0 { results.results } else { nil }
            }
        }
    }

    func jwtResult() async throws -> Cygnet_Sync_V1_SignJWTResult {
        try await self.next {
            $0.message.flatMap { if case .jwtResult(let result) = $0 { result } else { nil } }
        }
    }

    func custodyResult() async throws -> Cygnet_Sync_V1_CustodyResult {
        try await self.next {
            $0.message.flatMap { if case .custodyResult(let result) = $0 { result } else { nil } }
        }
    }

    func workloadEndResult() async throws -> Cygnet_Sync_V1_WorkloadEndResult {
        try await self.next {
            $0.message.flatMap {
                if case .workloadEndResult(let result) = $0 { result } else { nil }
            }
        }
    }

    /// Reads until the stream ends.
    func end() async throws {
        do { _ = try await self.next { _ in nil as Int? } } catch is StreamEnded {}
    }

    private struct StreamEnded: Error {}
}

@Suite(.timeLimit(.minutes(2))) struct SyncServiceTests {
    /// Opens a stream as the agent, says hello unless told not to, and runs `body`.
    private static func connect(
        _ server: TestServer, _ agent: TestIdentity, digest: Data? = Data(),
        _ body: @escaping @Sendable (SyncStream) async throws -> Void
    ) async throws {
        try await server.tls(agent) { client in
            let (turns, turn) = AsyncStream.makeStream(of: AgentMessage.self)
            try await Cygnet_Sync_V1_Sync.Client(wrapping: client).connect { writer in
                for await message in turns { try await writer.write(message) }
            } onResponse: { response in
                defer { turn.finish() }
                let stream = SyncStream(turn, response.messages)
                if let digest {
                    stream.send {
                        $0.hello = .with {
                            $0.agentVersion = "1.0"
                            $0.digest = digest
                        }
                    }
                }
                try await body(stream)
            }
        }
    }

    /// Waits, without sleeping, until something holds that the server does in its own time.
    private static func eventually(_ condition: () -> Bool) async -> Bool {
        let end = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < end {
            if condition() { return true }
            await Task.yield()
        }
        return false
    }

    private static func publicKey(_ key: P256.Signing.PrivateKey) throws -> Data {
        var serializer = DER.Serializer()
        try serializer.serialize(Certificate.PublicKey(key.publicKey))
        return Data(serializer.serializedBytes)
    }

    @Test func `an authority signs once the connected agent has confirmed its bundle`() async throws
    {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            try await Self.connect(server, agent) { stream in
                let first = try await stream.bundles()
                #expect(first.confirm == first.upserted.first?.sequenceNumber)
                let authorities = server.plane.authorities
                let old = try authorities.overview(.x509).active.id
                let new = try await authorities.prepare(.x509, requestedBy: "t").id
                let update = try await stream.bundles()
                #expect(update.confirm == first.confirm + 1)
                async let activated = authorities.activate(
                    .x509, authorityID: new, requestedBy: "t")
                stream.send { $0.bundleConfirmation = .with { $0.number = first.confirm } }
                #expect(try authorities.overview(.x509).active.id == old)
                stream.send { $0.bundleConfirmation = .with { $0.number = update.confirm } }
                #expect(try await activated.id == new)
                #expect(server.plane.directory.sessionCount == 1)
                stream.close()
                try await stream.end()
            }
        }
    }

    @Test func `a statement with a partner's receipt is in the ledger when it is answered`()
        async throws
    {
        let clock = TestClock(Int64(Date().timeIntervalSince1970))
        let other = try await ForeignDomain(clock: clock)
        let foreign = try await other.identity("/valve")
        try await TestServer.with(bundles: [other.bundle]) { server in
            let agent = try await server.attest("t1")
            _ = try await server.plane.store.createEntries([.test("e", "/e", parent: agent.id.path)]
            )
            let own = try await TestIdentity.issued(by: server.plane, "/e")
            let signed = try CustodyStatement(action: "ask", transaction: "t", peer: foreign.id)
                .signed(by: X509SVID(certificates: own.chain, privateKeyPKCS8DER: own.keyDER))
            let receipt = try CustodyReceipt(
                for: signed,
                signedBy: X509SVID(
                    certificates: foreign.chain, privateKeyPKCS8DER: foreign.keyDER))
            try await Self.connect(server, agent) { stream in
                for (id, text) in [(UInt64(7), receipt.token), (8, "no receipt")] {
                    stream.send {
                        $0.recordCustody = .with {
                            $0.requestID = id
                            $0.statement = signed.token
                            $0.receipt = text
                        }
                    }
                    let result = try await stream.custodyResult()
                    #expect(result.requestID == id)
                    // OK, and INVALID_ARGUMENT.
                    #expect(result.status.code == (id == 7 ? 0 : 3))
                }
                let leaves = server.plane.recorder.events.filter { $0.type == "custody.recorded" }
                #expect(
                    leaves == [
                        .custodyRecorded(CustodyLeaf(signed, receipt: receipt, node: agent.id))
                    ])
                stream.close()
                try await stream.end()
            }
        }
    }

    @Test
    func
        `the end of a workload revokes what this agent obtained for the entry, and nonsense does nothing`()
        async throws
    {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            let other = try await server.attest("t2")
            var own = try Entry.test("e", "/e", parent: agent.id.path)
            own.revokesOnExit = true
            var foreign = try Entry.test("f", "/f", parent: other.id.path)
            foreign.revokesOnExit = true
            let plain = try Entry.test("p", "/p", parent: agent.id.path)
            _ = try await server.plane.store.createEntries([own, foreign, plain])
            try await Self.connect(server, agent) { stream in
                let snapshot = try await stream.entries()
                let options = Dictionary(
                    snapshot.upserted.map { ($0.id, $0.additionalAttributes.revokeOnExit) }
                ) { first, _ in first }
                #expect(options == ["e": true, "p": false])
                let key = try Self.publicKey(P256.Signing.PrivateKey())
                stream.send { message in
                    message.signX509 = .with {
                        $0.requests = ["e", "p"].enumerated().map { index, id in
                            .with {
                                $0.requestID = UInt64(index)
                                $0.entryID = id
                                $0.publicKey = key
                            }
                        }
                    }
                }
                #expect(try await stream.x509Results().map(\.status.code) == [0, 0])
                // NOT_FOUND, FAILED_PRECONDITION, OK, OK again.
                let rows: [(id: String, code: Int32)] = [
                    ("", 5), ("none", 5), ("f", 5), (String(repeating: "x", count: 100_000), 5),
                    ("e\u{0}", 5), ("p", 9), ("e", 0), ("e", 0),
                ]
                for (number, row) in rows.enumerated() {
                    stream.send {
                        $0.workloadEnd = .with {
                            $0.requestID = UInt64(number)
                            $0.entryID = row.id
                        }
                    }
                    let result = try await stream.workloadEndResult()
                    #expect(result.requestID == UInt64(number))
                    #expect(result.status.code == row.code, "\(row.id.prefix(20))")
                }
                let made = server.plane.revocations.list()
                #expect(made.map(\.target) == [.workload(entryID: "e", agent: agent.id)])
                #expect(made.map(\.caller) == [agent.id.string])
                #expect(made.map(\.reason) == ["process ended"] && made.allSatisfy(\.isReplacement))
                // The stream goes on, and fresh ones are issued.
                stream.send { message in
                    message.signX509 = .with {
                        $0.requests = [
                            .with {
                                $0.requestID = 9
                                $0.entryID = "e"
                                $0.publicKey = key
                            }
                        ]
                    }
                }
                #expect(try await stream.x509Results().map(\.status.code) == [0])
                stream.close()
                try await stream.end()
            }
        }
    }

    @Test func `hello brings the bundle and a snapshot, and each change follows as a delta`()
        async throws
    {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            _ = try await server.plane.store.createEntries([.test("e", "/e", parent: agent.id.path)]
            )
            try await Self.connect(server, agent) { stream in
                let bundles = try await stream.bundles()
                #expect(bundles.upserted.map(\.trustDomain) == ["acme.test"])
                #expect(bundles.upserted.first?.x509Authorities.count == 1)
                let snapshot = try await stream.entries()
                #expect(snapshot.snapshot && !snapshot.more)
                #expect(snapshot.upserted.map(\.id) == ["e"])
                let entry = try #require(snapshot.upserted.first)
                #expect(entry.hasSpiffeID && !entry.hasParentID && entry.selectors.count == 1)
                #expect(server.plane.nodes.node(agent.id)?.agentVersion == "1.0")

                _ = try await server.plane.store.createEntries([.test("f", "/f", parent: "/e")])
                let delta = try await stream.entries()
                #expect(!delta.snapshot)
                #expect(delta.upserted.map(\.id) == ["f"])
                var digest = EntryDigest()
                for entry in server.plane.directory.authorizedEntries(agent: agent.id) {
                    digest.toggle(entry)
                }
                #expect([UInt8](delta.digest) == digest.bytes)
                #expect(delta.seq == server.plane.directory.seq)
                _ = try await server.plane.store.deleteEntries(["f"])
                #expect(try await stream.entries().removedIds == ["f"])
                _ = try await server.plane.store.updateBundle(server.plane.trustDomain) {
                    $0.refreshHint = 77
                }
                #expect(try await stream.bundles().upserted.map(\.refreshHint) == [77])
                stream.close()
                try await stream.end()
            }
            #expect(await Self.eventually { server.plane.directory.sessionCount == 0 })
        }
    }

    @Test func `a large snapshot comes in parts of one delta`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            _ = try await server.plane.store.createEntries(
                try (0..<2_500).map { try .test("e\($0)", "/w/\($0)", parent: agent.id.path) })
            try await Self.connect(server, agent) { stream in
                var parts: [Cygnet_Sync_V1_EntryDelta] = []
                repeat { parts.append(try await stream.entries()) } while parts.last?.more == true
                #expect(parts.map(\.upserted.count) == [1_000, 1_000, 500])
                let areSnapshots = parts.allSatisfy(\.snapshot)
                #expect(areSnapshots)
                #expect(Set(parts.flatMap { $0.upserted.map(\.id) }).count == 2_500)
            }
        }
    }

    @Test func `an agent that is up to date gets no snapshot, and one when it asks`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            _ = try await server.plane.store.createEntries([.test("e", "/e", parent: agent.id.path)]
            )
            let digest = server.plane.directory.entryDigest.digest
            try await Self.connect(server, agent, digest: Data(digest.bytes)) { stream in
                _ = try await stream.bundles()
                _ = try await server.plane.store.createEntries([
                    .test("f", "/f", parent: agent.id.path)
                ])
                let delta = try await stream.entries()
                #expect(!delta.snapshot && delta.upserted.map(\.id) == ["f"])
                stream.send { $0.resync = .init() }
                let snapshot = try await stream.entries()
                #expect(snapshot.snapshot && snapshot.upserted.count == 2)
            }
        }
    }

    @Test func `WIT-SVIDs are signed over the stream, and only for authorised entries`()
        async throws
    {
        for isEnabled in [true, false] {
            try await TestServer.with(authority: .init(issuesWITSVIDs: isEnabled)) { server in
                let agent = try await server.attest("t1")
                let other = try await server.attest("t2")
                _ = try await server.plane.store.createEntries([
                    .test("own", "/own", parent: agent.id.path),
                    .test("foreign", "/f", parent: other.id.path),
                ])
                let key = try ProofKey(generatingFor: .es256)
                let der = Data(key.confirmationKey.publicKey.publicKeyDER)
                try await Self.connect(server, agent) { stream in
                    let bundle = try await stream.bundles().upserted.first
                    #expect(bundle?.witAuthorities.count == (isEnabled ? 1 : 0))
                    stream.send { message in
                        message.signWit.requests = ["own", "foreign", "none", "own"].enumerated()
                            .map { index, entry in
                                .with {
                                    $0.requestID = UInt64(index)
                                    $0.entryID = entry
                                    $0.publicKey = index == 3 ? Data([1]) : der
                                    $0.signingAlgorithm = "ES256"
                                }
                            }
                    }
                    let results = try await stream.witResults()
                    #expect(results.map(\.requestID) == [0, 1, 2, 3])
                    let codes: [Int32] = isEnabled ? [0, 5, 5, 3] : [12, 12, 12, 12]
                    #expect(results.map(\.status.code) == codes)
                    guard isEnabled else { return }
                    let svid = try WITSVID(token: results[0].svid.token, proofKey: key)
                    #expect(svid.id.path == "/own")
                    stream.close()
                }
            }
        }
    }

    @Test func `signing answers each request, and only for authorised entries`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            let other = try await server.attest("t2")
            _ = try await server.plane.store.createEntries([
                .test("own", "/own", parent: agent.id.path),
                .test("foreign", "/f", parent: other.id.path),
            ])
            let key = P256.Signing.PrivateKey()
            let der = try Self.publicKey(key)
            try await Self.connect(server, agent) { stream in
                stream.send {
                    $0.signX509.requests = [
                        .with {
                            $0.requestID = 7
                            $0.entryID = "own"
                            $0.publicKey = der
                        },
                        .with {
                            $0.requestID = 8
                            $0.entryID = "foreign"
                            $0.publicKey = der
                        },
                        .with {
                            $0.requestID = 9
                            $0.entryID = "own"
                            $0.publicKey = Data([1])
                        },
                        .with {
                            $0.requestID = 10
                            $0.entryID = "none"
                            $0.publicKey = der
                        },
                    ]
                }
                let results = try await stream.x509Results()
                #expect(results.map(\.requestID) == [7, 8, 9, 10])
                #expect(results.map(\.status.code) == [0, 5, 3, 5])
                let leaf = try Certificate(derEncoded: [UInt8](results[0].svid.certChain[0]))
                #expect(leaf.publicKey == Certificate.PublicKey(key.publicKey))
                for (id, entry, audience, code) in [
                    (1, "own", ["a"], 0), (2, "foreign", ["a"], 5), (3, "own", [], 3),
                ] as [(UInt64, String, [String], Int32)] {
                    stream.send {
                        $0.signJwt = .with {
                            $0.requestID = id
                            $0.entryID = entry
                            $0.audience = audience
                        }
                    }
                    let result = try await stream.jwtResult()
                    #expect(result.requestID == id && result.status.code == code)
                    #expect(result.hasSvid == (code == 0))
                }
            }
        }
    }

    @Test func `when no record can be written each request says so and the stream lives on`()
        async throws
    {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            _ = try await server.plane.store.createEntries([
                .test("own", "/own", parent: agent.id.path)
            ])
            let der = try Self.publicKey(P256.Signing.PrivateKey())
            try await Self.connect(server, agent) { stream in
                for (failure, code) in [(ServerError(.unavailable, "full"), 14), (nil, 0)]
                    as [(ServerError?, Int32)]
                {
                    server.plane.recorder.fail(failure)
                    stream.send {
                        $0.signX509.requests = [
                            .with {
                                $0.requestID = 1
                                $0.entryID = "own"
                                $0.publicKey = der
                            }
                        ]
                    }
                    let results = try await stream.x509Results()
                    #expect(results.map(\.status.code) == [code])
                    #expect(results.map(\.hasSvid) == [code == 0])
                }
            }
        }
    }

    @Test func `a ban and an eviction end the stream and say why`() async throws {
        try await TestServer.with { server in
            for isBan in [true, false] {
                let agent = try await server.attest(isBan ? "banned" : "evicted")
                let error = await #expect(throws: RPCError.self) {
                    try await Self.connect(server, agent) { stream in
                        _ = try await stream.entries()
                        if isBan {
                            try await server.plane.nodes.ban(agent.id)
                        } else {
                            try await server.plane.nodes.evict(agent.id)
                        }
                        try await stream.end()
                    }
                }
                #expect(error?.code == .permissionDenied)
                #expect(error?.agentReason == (isBan ? .agentBanned : .agentNotAttested))
                let again = await #expect(throws: RPCError.self) {
                    try await Self.connect(server, agent) { try await $0.end() }
                }
                #expect(again?.agentReason == (isBan ? .agentBanned : .agentNotAttested))
            }
            #expect(await Self.eventually { server.plane.directory.sessionCount == 0 })
        }
    }

    @Test func `a stream that does not begin with hello, or says it twice, is refused`()
        async throws
    {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            let early = await #expect(throws: RPCError.self) {
                try await Self.connect(server, agent, digest: nil) { stream in
                    stream.send { $0.resync = .init() }
                    try await stream.end()
                }
            }
            #expect(early?.code == .invalidArgument)
            for change in [{ $0.hello = .init() }, { _ in }]
                as [@Sendable (inout AgentMessage) -> Void]
            {
                let error = await #expect(throws: RPCError.self) {
                    try await Self.connect(server, agent) { stream in
                        stream.send(change)
                        try await stream.end()
                    }
                }
                #expect(error?.code == .invalidArgument)
            }
            #expect(await Self.eventually { server.plane.directory.sessionCount == 0 })
        }
    }

    @Test func `a batch that is too large is refused`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            let error = await #expect(throws: RPCError.self) {
                try await Self.connect(server, agent) { stream in
                    stream.send { $0.signX509.requests = .init(repeating: .init(), count: 1_001) }
                    try await stream.end()
                }
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test func `an agent that goes away without a word leaves no session behind`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            try await Self.connect(server, agent) { stream in
                _ = try await stream.entries()
                #expect(server.plane.directory.sessionCount == 1)
                // Returning cancels the call.
            }
            #expect(await Self.eventually { server.plane.directory.sessionCount == 0 })
        }
    }

    @Test func `many agents each hear of their own entries only`() async throws {
        try await TestServer.with { server in
            var agents: [TestIdentity] = []
            for number in 0..<8 { agents.append(try await server.attest("t\(number)")) }
            let ready = NIOLockedValueBox(0)
            let all = agents
            try await withThrowingTaskGroup(of: Void.self) { group in
                for agent in all {
                    group.addTask {
                        try await Self.connect(server, agent) { stream in
                            _ = try await stream.entries()
                            ready.withLockedValue { $0 += 1 }
                            let delta = try await stream.entries()
                            #expect(
                                delta.upserted.map(\.spiffeID.path) == [
                                    "/w" + agent.id.path.dropFirst(6)
                                ])
                        }
                    }
                }
                #expect(await Self.eventually { ready.withLockedValue { $0 } == all.count })
                for agent in all {
                    _ = try await server.plane.store.createEntries([
                        .test("", "/w", parent: agent.id.path).named(after: agent)
                    ])
                }
                try await group.waitForAll()
            }
        }
    }
}

extension Entry {
    /// The same entry with ID and SPIFFE ID that name the agent.
    fileprivate func named(after agent: TestIdentity) throws -> Entry {
        let name = String(agent.id.path.split(separator: "/").last ?? "none")
        var entry = self
        entry.id = name
        entry.spiffeID = try SPIFFEID("spiffe://acme.test/w" + agent.id.path.dropFirst(6))
        return entry
    }
}
