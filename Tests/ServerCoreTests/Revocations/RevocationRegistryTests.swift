import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@Suite struct RevocationRegistryTests {
    private static func draft(
        _ kind: RevocationTarget.Kind = .pathPrefix, _ value: String = "/a"
    ) throws -> RevocationRegistry.Draft {
        var draft = RevocationRegistry.Draft(try Sample.target(kind, value))
        draft.reason = "stolen"
        return draft
    }

    private static func issue(_ number: Int, _ path: String, _ plane: TestPlane) throws {
        let subject = try Sample.subject(path)
        let ticket = try plane.admission.begin(subject)
        try plane.admission.admit(
            Sample.svid(
                number, subject, expiresAt: plane.clock.unixTime + 3_600, ticket: ticket))
    }

    @Test func `a revocation is in force and recorded when the call returns`() async throws {
        let plane = try await TestPlane()
        try Self.issue(1, "/a/b", plane)
        let (made, hits) = try await plane.revocations.create(try Self.draft(), caller: "uid:7")
        let expected = try Sample.id("/a/b")
        #expect(hits.x509SVIDs == 1 && hits.spiffeIDs == [expected])
        #expect(made.caller == "uid:7" && made.createdAt == plane.clock.unixTime)
        #expect(throws: ServerError.self) { try Self.issue(2, "/a", plane) }
        #expect(
            plane.events.revocations == [
                .revocationCreated(
                    RevocationCreatedLeaf(
                        revocationID: made.id, targetType: "path_prefix", target: "/a",
                        reason: "stolen", affected: 1, caller: "uid:7",
                        seq: Int64(plane.directory.seq)))
            ])
        #expect(try plane.revocations.revocation(made.id) == made)
        #expect(plane.revocations.list() == [made])
        #expect(try await plane.store.unfinishedRevocations().isEmpty)
        #expect(try await plane.store.revocationHits()[made.id]?.count == 16)
    }

    @Test func `a dry run changes nothing`() async throws {
        let plane = try await TestPlane()
        try Self.issue(1, "/a/b", plane)
        let seq = plane.directory.seq
        #expect(try plane.revocations.hits(of: try Self.draft()).svids == 1)
        try Self.issue(2, "/a", plane)
        #expect(plane.revocations.list().isEmpty && plane.events.revocations.isEmpty)
        #expect(plane.directory.seq == seq)
    }

    @Test func `what contradicts itself is refused`() async throws {
        let plane = try await TestPlane()
        var drafts: [RevocationRegistry.Draft] = []
        func add(
            _ kind: RevocationTarget.Kind = .pathPrefix, _ value: String = "/a",
            _ change: (inout RevocationRegistry.Draft) -> Void
        ) throws {
            var draft = try Self.draft(kind, value)
            change(&draft)
            drafts.append(draft)
        }
        try add { $0.reason = String(repeating: "x", count: 1_025) }
        try add { $0.reason = "two\nlines" }
        try add { $0.expiresAt = plane.clock.unixTime }
        try add { $0.expiresAt = -1 }
        try add {
            $0.isSuspension = true
            $0.isReplacement = true
        }
        for (kind, value) in [(.serial, "1"), (.jti, "j"), (.authorityID, "a")]
            as [(RevocationTarget.Kind, String)]
        {
            try add(kind, value) { $0.andChildren = true }
        }
        for draft in drafts {
            let made = await #expect(throws: ServerError.self) {
                try await plane.revocations.create(draft, caller: "uid:0")
            }
            #expect(made?.code == .invalidArgument)
            #expect(throws: ServerError.self) { try plane.revocations.hits(of: draft) }
        }
        try add { $0.reason = String(repeating: "x", count: 1_024) }
        _ = try await plane.revocations.create(try #require(drafts.last), caller: "uid:0")
        #expect(plane.revocations.list().count == 1)
    }

    @Test func `only suspensions are lifted, and once`() async throws {
        let plane = try await TestPlane()
        try Self.issue(1, "/a", plane)
        let final = try await plane.revocations.create(
            try Self.draft(.serial, "1"), caller: "uid:0"
        ).revocation
        var draft = try Self.draft()
        draft.isSuspension = true
        let held = try await plane.revocations.create(draft, caller: "uid:0").revocation
        func code(_ id: String) async -> ServerError.Code? {
            await #expect(throws: ServerError.self) {
                try await plane.revocations.lift(id, reason: "", caller: "uid:0")
            }?.code
        }
        #expect(await code(final.id) == .failedPrecondition)
        #expect(await code("none") == .notFound)
        let lifted = try await plane.revocations.lift(held.id, reason: "found", caller: "uid:9")
        #expect(lifted == held)
        #expect(await code(held.id) == .notFound)
        try Self.issue(2, "/a", plane)
        guard case .revocationLifted(let leaf) = plane.events.revocations.last else {
            Issue.record("no leaf")
            return
        }
        #expect(leaf.revocationID == held.id && leaf.reason == "found" && leaf.caller == "uid:9")
        #expect(plane.revocations.list() == [final])
        #expect(try await plane.store.unfinishedRevocations().isEmpty)
    }

    @Test func `a token that replaces another of the same second is another one`() async throws {
        let plane = try await TestPlane()
        func issue() async throws -> String {
            try await plane.issuer.issue(
                JWTIssuance(
                    spiffeID: plane.id("/a"), audience: ["x"], ttl: 300,
                    origin: .mint),
                requestedBy: "uid:0"
            ).token
        }
        func signed(_ token: String) -> Substring {
            token[..<(token.lastIndex(of: ".") ?? token.endIndex)]
        }
        let first = try await issue()
        #expect(signed(try await issue()) == signed(first), "nothing is taken back yet")
        var draft = try Self.draft()
        draft.isReplacement = true
        _ = try await plane.revocations.create(draft, caller: "uid:0")
        let fresh = try await issue()
        #expect(signed(fresh) != signed(first))
        #expect(signed(try await issue()) != signed(fresh))
    }

    @Test func `an expired one is swept and recorded as expired`() async throws {
        let plane = try await TestPlane()
        try Self.issue(1, "/a", plane)
        var draft = try Self.draft()
        draft.expiresAt = plane.clock.unixTime + 60
        _ = try await plane.revocations.create(draft, caller: "uid:0")
        #expect(try await plane.revocations.sweep() == 0)
        plane.clock.advance(by: 60)
        try Self.issue(2, "/a", plane)
        #expect(try await plane.revocations.sweep() == 1)
        #expect(plane.revocations.list().isEmpty)
        #expect(plane.admission.revokedCertificates(authorityID: "a1").isEmpty)
        guard case .revocationLifted(let leaf) = plane.events.revocations.last else {
            Issue.record("no leaf")
            return
        }
        #expect(leaf.reason == "expired" && leaf.caller == "self")
    }

    @Test func `nothing changes when the store cannot be written`() async throws {
        let plane = try await TestPlane()
        plane.store.fail(ServerError(.unavailable, "full"))
        let error = await #expect(throws: ServerError.self) {
            try await plane.revocations.create(try Self.draft(), caller: "uid:0")
        }
        #expect(error?.code == .unavailable)
        try Self.issue(1, "/a", plane)
        #expect(plane.events.revocations.isEmpty)
    }

    @Test func `without a ledger it is in force, and recorded when the ledger is back`()
        async throws
    {
        let plane = try await TestPlane()
        plane.events.fail(ServerError(.unavailable, "no ledger"))
        var draft = try Self.draft()
        draft.isSuspension = true
        let error = await #expect(throws: ServerError.self) {
            try await plane.revocations.create(draft, caller: "uid:0")
        }
        #expect(error?.code == .unavailable && error?.message.contains("is in force") == true)
        #expect(throws: ServerError.self) { try Self.issue(1, "/a", plane) }
        await #expect(throws: ServerError.self) { try await plane.revocations.resume() }
        let id = try #require(plane.revocations.list().first?.id)
        // Lifted before anything is recorded: both leaves come, in their order.
        await #expect(throws: ServerError.self) {
            try await plane.revocations.lift(id, reason: "again", caller: "uid:1")
        }
        #expect(plane.revocations.list().isEmpty)
        plane.events.fail(nil)
        try await plane.revocations.resume()
        #expect(
            plane.events.revocations.map(\.type) == ["revocation.created", "revocation.lifted"])
        try await plane.revocations.resume()
        #expect(plane.events.revocations.count == 2, "once")
        #expect(try await plane.store.unfinishedRevocations().isEmpty)
    }

    @Test func `after a crash between commit and leaf the next start records it`() async throws {
        let store = MemoryStore()
        let crashed = try Sample.revocation("r", .pathPrefix, "/a")
        #expect(try await store.createRevocation(crashed))
        let plane = try await TestPlane(store: store)
        #expect(throws: ServerError.self) { try Self.issue(1, "/a", plane) }
        try await plane.revocations.resume()
        guard case .revocationCreated(let leaf) = plane.events.revocations.first else {
            Issue.record("no leaf")
            return
        }
        #expect(leaf.revocationID == "r" && leaf.affected == nil && leaf.caller == "uid:0")
        #expect(try await store.revocationHits() == ["r": []])
    }

    @Test func `waiting publishes first, asks for that number, and counts from the commit`()
        async throws
    {
        let plane = try await TestPlane()
        let made = try await plane.revocations.create(try Self.draft(), caller: "uid:0").revocation
        let missing = try Sample.id("/spire/agent/x/1")
        plane.holders.published = 7
        plane.holders.answer(
            RevocationConfirmations(
                agents: 3, confirmed: 2, lastConfirmation: .milliseconds(5), waitingFor: [missing]))
        let result = try await plane.revocations.await(made.id, timeout: .seconds(3))
        #expect(result.agents == 3 && result.confirmed == 2 && result.waitingFor == [missing])
        #expect(try #require(result.lastConfirmation) > .milliseconds(5))
        let asked = try #require(plane.holders.asked.first)
        #expect(asked.number == 7 && asked.timeout <= .seconds(3))
        let error = await #expect(throws: ServerError.self) {
            try await plane.revocations.await("none", timeout: .seconds(1))
        }
        #expect(error?.code == .notFound)
    }
}
