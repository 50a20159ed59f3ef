import Crypto
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency
import X509

private let testKey = Certificate.PublicKey(P256.Signing.PrivateKey().publicKey)

@Suite struct NodeRegistryTests {
    private static func attest(_ plane: TestPlane, _ token: String) async throws -> IssuedX509SVID {
        try await plane.nodes.attest(joinToken: token, publicKey: testKey, from: "192.0.2.1")
    }

    /// Makes a token and attests with it.
    private static func agent(_ plane: TestPlane, _ token: String = "t1") async throws
        -> IssuedX509SVID
    {
        _ = try await plane.nodes.createJoinToken(value: token, ttl: 60, agentID: nil)
        return try await self.attest(plane, token)
    }

    @Test func `attesting with a token makes a node with its ID, selector and serial`() async throws
    {
        let plane = try await TestPlane()
        let svid = try await Self.agent(plane)
        #expect(svid.spiffeID.string == "spiffe://acme.test/spire/agent/join_token/t1")
        let node = try #require(plane.nodes.node(svid.spiffeID))
        #expect(node.serial == svid.serial)
        #expect(node.expiresAt == svid.expiresAt)
        #expect(node.attestationType == "join_token")
        #expect(node.selectors.map(\.description) == ["spiffe_id:\(svid.spiffeID)"])
        #expect(!node.canReattest && !node.isBanned)
        let leaf = try #require(plane.recorder.issued.last)
        #expect(leaf.node == svid.spiffeID && leaf.caller == "192.0.2.1" && leaf.entryID == nil)
        // SHA-256 of the selector with its newline, and of the token, from openssl.
        #expect(
            leaf.selectorsDigest.map(hex)
                == "d1b3e80b5efc0f857c94ef65541eec37bf0f76306b5275c6b388e0c8f48ea95c")
        #expect(
            leaf.evidenceDigest.map(hex)
                == "628b49d96dcde97a430dd4f597705899e09a968f793491e4b704cae33a40dc02")
    }

    @Test func `a token lets one agent in, whoever else tries`() async throws {
        let plane = try await TestPlane()
        _ = try await plane.nodes.createJoinToken(value: "t1", ttl: 60, agentID: nil)
        let winners = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<32 {
                group.addTask { (try? await Self.attest(plane, "t1")) != nil }
            }
            var count = 0
            for await won in group where won { count += 1 }
            return count
        }
        #expect(winners == 1)
        let error = await #expect(throws: ServerError.self) { try await Self.attest(plane, "t1") }
        #expect(error?.code == .invalidArgument)
    }

    @Test func `a token that expired is burnt by the attempt`() async throws {
        let plane = try await TestPlane()
        _ = try await plane.nodes.createJoinToken(value: "t1", ttl: 10, agentID: nil)
        plane.clock.advance(by: 10)
        let late = await #expect(throws: ServerError.self) { try await Self.attest(plane, "t1") }
        #expect(late?.message.contains("expired") == true)
        plane.clock.advance(by: -10)
        let again = await #expect(throws: ServerError.self) { try await Self.attest(plane, "t1") }
        #expect(again?.message.contains("does not exist") == true)
        #expect(plane.directory.nodes.isEmpty)
    }

    @Test func `a token is good until the second before it ends`() async throws {
        let plane = try await TestPlane()
        _ = try await plane.nodes.createJoinToken(value: "t1", ttl: 10, agentID: nil)
        plane.clock.advance(by: 9)
        _ = try await Self.attest(plane, "t1")
    }

    @Test(arguments: ["a/b", "..", ".", "a b", "é", "a%2fb", "a:b", "\n", "/"])
    func `a token that is no path segment is refused, and not repeated in the error`(
        value: String
    ) async throws {
        let plane = try await TestPlane()
        let error = await #expect(throws: ServerError.self) {
            try await plane.nodes.createJoinToken(value: value, ttl: 60, agentID: nil)
        }
        #expect(error?.code == .invalidArgument)
        await #expect(throws: ServerError.self) { try await Self.attest(plane, value) }
    }

    @Test func `no error about a token names it`() async throws {
        let plane = try await TestPlane()
        let secret = "s3cr3t-t0ken"
        let unknown = await #expect(throws: ServerError.self) {
            try await Self.attest(plane, secret)
        }
        #expect(unknown?.message.contains(secret) == false)
        _ = try await plane.nodes.createJoinToken(value: secret, ttl: 60, agentID: nil)
        let twice = await #expect(throws: ServerError.self) {
            try await plane.nodes.createJoinToken(value: secret, ttl: 60, agentID: nil)
        }
        #expect(twice?.code == .alreadyExists)
        #expect(twice?.message.contains(secret) == false)
    }

    @Test(arguments: [0, -1, Int32.min]) func `a token lives at least a second`(ttl: Int32)
        async throws
    {
        let plane = try await TestPlane()
        let error = await #expect(throws: ServerError.self) {
            try await plane.nodes.createJoinToken(value: "", ttl: ttl, agentID: nil)
        }
        #expect(error?.code == .invalidArgument)
    }

    @Test func `a token with an agent ID brings an alias entry, and eviction takes just that away`()
        async throws
    {
        let plane = try await TestPlane()
        _ = try await plane.nodes.createJoinToken(
            value: "t1", ttl: 60, agentID: try plane.id("/pool/a"))
        let svid = try await Self.attest(plane, "t1")
        let alias = try #require(plane.directory.authorizedEntries(agent: svid.spiffeID).first)
        #expect(alias.spiffeID.path == "/pool/a")
        #expect(alias.selectors.map(\.description) == ["spiffe_id:\(svid.spiffeID)"])
        _ = try await plane.store.createEntries([
            .test("below", "/w", parent: svid.spiffeID.path),
            .test("deeper", "/x", parent: "/pool/a"),
        ])
        #expect(plane.directory.authorizedEntries(agent: svid.spiffeID).count == 3)
        try await plane.nodes.evict(svid.spiffeID)
        #expect(plane.nodes.node(svid.spiffeID) == nil)
        #expect(plane.directory.withEntries { $0.count } == 2)
        #expect(plane.entries.entry(id: alias.id) == nil)
    }

    @Test func `a renewed SVID becomes the current one by its first use`() async throws {
        let plane = try await TestPlane()
        let old = try await Self.agent(plane)
        let id = old.spiffeID
        let new = try await plane.nodes.renew(id, publicKey: testKey)
        #expect(plane.nodes.node(id)?.serial == old.serial)
        try await plane.nodes.authorize(id, serial: old.serial, expiresAt: old.expiresAt)
        #expect(plane.nodes.node(id)?.preparedSerial == new.serial)
        try await plane.nodes.authorize(id, serial: new.serial, expiresAt: new.expiresAt)
        let node = try #require(plane.nodes.node(id))
        #expect(node.serial == new.serial && node.expiresAt == new.expiresAt)
        #expect(node.preparedSerial.isEmpty && node.preparedExpiresAt == 0)
        try await plane.nodes.authorize(id, serial: new.serial, expiresAt: new.expiresAt)
        let error = await #expect(throws: ServerError.self) {
            try await plane.nodes.authorize(id, serial: old.serial, expiresAt: old.expiresAt)
        }
        #expect(error?.agentReason == .notActive)
    }

    @Test func `of two renewals only the last counts`() async throws {
        let plane = try await TestPlane()
        let id = try await Self.agent(plane).spiffeID
        let first = try await plane.nodes.renew(id, publicKey: testKey)
        let second = try await plane.nodes.renew(id, publicKey: testKey)
        let error = await #expect(throws: ServerError.self) {
            try await plane.nodes.authorize(id, serial: first.serial, expiresAt: first.expiresAt)
        }
        #expect(error?.agentReason == .notActive)
        try await plane.nodes.authorize(id, serial: second.serial, expiresAt: second.expiresAt)
    }

    @Test
    func `an unknown agent, an unknown serial and an expired SVID are refused with the reason`()
        async throws
    {
        let plane = try await TestPlane()
        let svid = try await Self.agent(plane)
        func reason(_ id: SPIFFEID, _ serial: String, _ expiresAt: Int64) async -> ServerError
            .AgentReason?
        {
            do {
                try await plane.nodes.authorize(id, serial: serial, expiresAt: expiresAt)
                return nil
            } catch { return (error as? ServerError)?.agentReason }
        }
        let other = try plane.id("/spire/agent/join_token/other")
        #expect(await reason(other, svid.serial, svid.expiresAt) == .notAttested)
        #expect(await reason(svid.spiffeID, "00", svid.expiresAt) == .notActive)
        #expect(
            await reason(svid.spiffeID, "", svid.expiresAt) == .notActive,
            "no prepared serial is no match")
        #expect(await reason(svid.spiffeID, svid.serial, svid.expiresAt) == nil)
        plane.clock.advance(by: svid.expiresAt - plane.clock.unixTime)
        #expect(await reason(svid.spiffeID, svid.serial, svid.expiresAt) == .expired)
    }

    @Test func `a banned agent gets nothing until it is evicted`() async throws {
        let plane = try await TestPlane()
        let svid = try await Self.agent(plane)
        let id = svid.spiffeID
        let renewed = try await plane.nodes.renew(id, publicKey: testKey)
        try await plane.nodes.ban(id)
        #expect(plane.nodes.node(id)?.isBanned == true)
        for serial in [svid.serial, renewed.serial, ""] {
            let error = await #expect(throws: ServerError.self) {
                try await plane.nodes.authorize(id, serial: serial, expiresAt: svid.expiresAt)
            }
            #expect(error?.agentReason == .banned)
        }
        let renewal = await #expect(throws: ServerError.self) {
            try await plane.nodes.renew(id, publicKey: testKey)
        }
        #expect(renewal?.agentReason == .banned)
        _ = try await plane.nodes.createJoinToken(value: "t1", ttl: 60, agentID: nil)
        let attestation = await #expect(throws: ServerError.self) {
            try await Self.attest(plane, "t1")
        }
        #expect(attestation?.agentReason == .banned)
        #expect(plane.nodes.node(id)?.isBanned == true)
        try await plane.nodes.evict(id)
        #expect(try await Self.agent(plane).spiffeID == id)
    }

    @Test func `an agent that can attest again must not renew`() async throws {
        let plane = try await TestPlane()
        var node = AttestedNode(
            id: try plane.id("/spire/agent/x/1"), attestationType: "x", serial: "01",
            expiresAt: .max)
        node.canReattest = true
        _ = try await plane.store.attestNode(node)
        let error = await #expect(throws: ServerError.self) {
            try await plane.nodes.renew(node.id, publicKey: testKey)
        }
        #expect(error?.agentReason == .mustReattest)
        #expect(!plane.recorder.issued.contains { $0.spiffeID == node.id })
    }

    @Test func `banning or evicting an unknown agent is not found`() async throws {
        let plane = try await TestPlane()
        let id = try plane.id("/spire/agent/x/1")
        let ban = await #expect(throws: ServerError.self) { try await plane.nodes.ban(id) }
        #expect(ban?.code == .notFound)
        let evict = await #expect(throws: ServerError.self) { try await plane.nodes.evict(id) }
        #expect(evict?.code == .notFound)
    }

    @Test func `the version of an agent is kept, written only when it differs`() async throws {
        let plane = try await TestPlane()
        let id = try await Self.agent(plane).spiffeID
        try await plane.nodes.setVersion("1.2.3", of: id)
        #expect(plane.nodes.node(id)?.agentVersion == "1.2.3")
        let seq = plane.directory.seq
        try await plane.nodes.setVersion("1.2.3", of: id)
        #expect(plane.directory.seq == seq)
    }

    @Test func `pruning spares banned agents and those that cannot come back`() async throws {
        let plane = try await TestPlane()
        for (name, serial, canReattest) in [("a", "01", true), ("b", "01", false), ("c", "", true)]
        {
            var node = AttestedNode(
                id: try plane.id("/spire/agent/x/\(name)"), attestationType: "x", serial: serial,
                expiresAt: plane.clock.unixTime - 101)
            node.canReattest = canReattest
            _ = try await plane.store.attestNode(node)
        }
        #expect(try await plane.nodes.prune(expiredFor: 101, includingTOFU: true) == 0)
        #expect(try await plane.nodes.prune(expiredFor: 100, includingTOFU: false) == 1)
        #expect(plane.directory.nodes.map(\.id.path) == ["/spire/agent/x/b", "/spire/agent/x/c"])
        #expect(try await plane.nodes.prune(expiredFor: 100, includingTOFU: true) == 1)
        #expect(plane.directory.nodes.map(\.id.path) == ["/spire/agent/x/c"])
    }

    @Test func `without a record no agent gets in, and the token is spent`() async throws {
        let plane = try await TestPlane()
        _ = try await plane.nodes.createJoinToken(value: "t1", ttl: 60, agentID: nil)
        plane.recorder.fail(ServerError(.unavailable, "disk is full"))
        let error = await #expect(throws: ServerError.self) { try await Self.attest(plane, "t1") }
        #expect(error?.code == .unavailable)
        #expect(plane.directory.nodes.isEmpty)
    }
}
