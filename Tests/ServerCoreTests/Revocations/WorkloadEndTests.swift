import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@Suite struct WorkloadEndTests {
    private static let node = "/spire/agent/x/1"
    private static let neighbour = "/spire/agent/x/2"

    /// A plane with an entry "e" that two agents share, with the option unless told otherwise.
    private static func plane(revokes: Bool = true) async throws -> TestPlane {
        let plane = try await TestPlane()
        var entry = try Entry.test("e", "/e", parent: Self.node)
        entry.revokesOnExit = revokes
        _ = try await plane.store.createEntries([entry])
        return plane
    }

    private static func issue(
        _ number: Int, _ plane: TestPlane, _ type: LeafSVIDType = .x509, entry: String = "e",
        node: String = Self.node, lifetime: Int64 = 3_600
    ) throws {
        let subject = try Sample.subject("/e", type, entry: entry, node: node)
        let ticket = try plane.admission.begin(subject)
        try plane.admission.admit(
            Sample.svid(
                number, subject, expiresAt: plane.clock.unixTime + lifetime, ticket: ticket))
    }

    private static func serials(_ plane: TestPlane) -> Set<String> {
        Set(plane.admission.revokedCertificates(authorityID: "a1").map(\.serial))
    }

    private static func end(_ plane: TestPlane, entry: String = "e") async throws -> Revocation? {
        try await plane.revocations.workloadEnded(entryID: entry, agent: try Sample.id(Self.node))
    }

    @Test func `what the agent obtained for the entry is revoked for good, and nothing else`()
        async throws
    {
        let plane = try await Self.plane()
        try Self.issue(1, plane)
        try Self.issue(2, plane, .jwt)
        try Self.issue(3, plane, node: Self.neighbour)
        try Self.issue(4, plane, entry: "other")
        let made = try #require(try await Self.end(plane))
        #expect(Self.serials(plane) == ["1"])
        #expect(plane.admission.revokedTokens() == [Sample.inputDigest(2)])
        #expect(
            plane.admission.revokedCertificates(authorityID: "a1").allSatisfy { !$0.isSuspended })
        #expect(made.reason == "process ended" && made.isReplacement && made.expiresAt == 0)
        #expect(
            plane.events.revocations == [
                .revocationCreated(
                    RevocationCreatedLeaf(
                        revocationID: made.id, targetType: "workload",
                        target: "e@spiffe://acme.test/spire/agent/x/1", isReplacement: true,
                        reason: "process ended", affected: 2,
                        caller: "spiffe://acme.test/spire/agent/x/1",
                        seq: Int64(plane.directory.seq)))
            ])
        // Fresh ones are issued at once, and are not hit.
        try Self.issue(5, plane)
        #expect(Self.serials(plane) == ["1"])
        #expect(plane.admission.revocation(ofSerial: "5") == nil)
    }

    @Test func `told again, or with nothing live, it leaves no trace`() async throws {
        let plane = try await Self.plane()
        #expect(try await Self.end(plane) == nil)
        try Self.issue(1, plane)
        #expect(try await Self.end(plane) != nil)
        let seq = plane.directory.seq
        for _ in 0..<3 { #expect(try await Self.end(plane) == nil) }
        #expect(plane.directory.seq == seq && plane.revocations.list().count == 1)
        #expect(plane.events.revocations.count == 1)
    }

    @Test
    func
        `an SVID that is only suspended is revoked, so that it stays so when the suspension is lifted`()
        async throws
    {
        let plane = try await Self.plane()
        try Self.issue(1, plane)
        var draft = RevocationRegistry.Draft(try Sample.target(.entryID, "e"))
        draft.isSuspension = true
        let held = try await plane.revocations.create(draft, caller: "uid:0").revocation
        #expect(try await Self.end(plane) != nil)
        _ = try await plane.revocations.lift(held.id, reason: "found", caller: "uid:0")
        #expect(Self.serials(plane) == ["1"])
    }

    @Test func `who has no part in the entry, and entries without the option, are refused`()
        async throws
    {
        let plane = try await Self.plane(revokes: false)
        try Self.issue(1, plane)
        let stranger = try Sample.id("/spire/agent/x/9")
        let own = try Sample.id(Self.node)
        let rows: [(entry: String, agent: SPIFFEID, code: ServerError.Code)] = [
            ("e", own, .failedPrecondition), ("e", stranger, .notFound), ("", own, .notFound),
            ("none", own, .notFound), (String(repeating: "e", count: 1_000_000), own, .notFound),
            ("e@spiffe://acme.test/spire/agent/x/1", own, .notFound),
        ]
        for row in rows {
            let error = await #expect(throws: ServerError.self) {
                try await plane.revocations.workloadEnded(entryID: row.entry, agent: row.agent)
            }
            #expect(error?.code == row.code, "\(row.entry.prefix(20)) of \(row.agent)")
            #expect((error?.message.utf8.count ?? 0) < 1_000)
        }
        #expect(Self.serials(plane).isEmpty && plane.revocations.list().isEmpty)
    }

    @Test
    func
        `an entry that was deleted is unknown, and one whose option is switched on late is heeded`()
        async throws
    {
        let plane = try await Self.plane(revokes: false)
        try Self.issue(1, plane)
        _ = try await plane.entries.update([
            EntryUpdate(id: "e") { (old: Entry) throws(ServerError) in
                var new = old
                new.revokesOnExit = true
                return new
            }
        ])
        #expect(try await Self.end(plane) != nil)
        #expect(try await plane.entries.delete(["e"]) == [true])
        let error = await #expect(throws: ServerError.self) { try await Self.end(plane) }
        #expect(error?.code == .notFound)
    }

    @Test
    func
        `without the ledger it is in force, the agent hears nothing of that, and it is recorded later`()
        async throws
    {
        let plane = try await Self.plane()
        try Self.issue(1, plane)
        plane.events.fail(ServerError(.unavailable, "disk full"))
        let made = try await Self.end(plane)
        #expect(made != nil && Self.serials(plane) == ["1"])
        #expect(plane.events.revocations.isEmpty)
        // Not forgotten before it is recorded, even when the SVID is gone.
        plane.clock.advance(by: 10_000)
        _ = try await plane.revocations.sweep()
        #expect(try await plane.store.unfinishedRevocations().count == 1)
        plane.events.fail(nil)
        try await plane.revocations.resume()
        #expect(plane.events.revocations.count == 1)
        _ = try await plane.revocations.sweep()
        #expect(plane.revocations.list().isEmpty)
    }

    @Test
    func `a revocation is forgotten with the last SVID that it hit, and no leaf tells of that`()
        async throws
    {
        let plane = try await Self.plane()
        try Self.issue(1, plane, lifetime: 100)
        try Self.issue(2, plane, .jwt, lifetime: 300)
        _ = try await Self.end(plane)
        try Self.issue(3, plane, lifetime: 10_000)
        plane.clock.advance(by: 200)
        #expect(try await plane.revocations.sweep() == 0)
        #expect(plane.revocations.list().count == 1)
        // Lists name an SVID for a minute longer.
        plane.clock.advance(by: 159)
        #expect(try await plane.revocations.sweep() == 0)
        plane.clock.advance(by: 2)
        #expect(try await plane.revocations.sweep() == 1)
        #expect(plane.revocations.list().isEmpty && plane.events.revocations.count == 1)
        #expect(plane.admission.revokedTokens().isEmpty)
        #expect(try await plane.store.revocationHits().isEmpty)
        // The one that was issued since is as it was.
        #expect(plane.admission.revocation(ofSerial: "3") == nil)
    }

    @Test func `2,000 short lives leave as many revocations as live SVIDs, and then none`()
        async throws
    {
        let plane = try await Self.plane()
        for number in 1...2_000 {
            try Self.issue(number, plane, lifetime: 60)
            #expect(try await Self.end(plane) != nil)
            plane.clock.advance(by: 1)
            if number.isMultiple(of: 100) {
                _ = try await plane.revocations.sweep()
                let count = plane.revocations.list().count
                #expect(count <= plane.admission.liveCount && count <= 122, "\(count)")
                let hits = try await plane.store.revocationHits().values.map(\.count)
                #expect(hits.allSatisfy { $0 == 16 }, "each has hit what no other has")
            }
        }
        plane.clock.advance(by: 1_000)
        _ = try await plane.revocations.sweep()
        #expect(plane.revocations.list().isEmpty && plane.admission.liveCount == 0)
    }

    @Test func `operators' own replacements stay when what they hit has expired`() async throws {
        let plane = try await Self.plane()
        try Self.issue(1, plane, lifetime: 10)
        var draft = RevocationRegistry.Draft(try Sample.target(.entryID, "e"))
        draft.isReplacement = true
        _ = try await plane.revocations.create(draft, caller: "uid:0")
        plane.clock.advance(by: 1_000)
        _ = try await plane.revocations.sweep()
        #expect(plane.revocations.list().count == 1)
    }

    @Test func `after a restart the same SVIDs are revoked, and those that came later are not`()
        throws
    {
        let feed = try AdmissionFeed()
        let subject = try Sample.subject("/e", entry: "e", node: Self.node)
        let revocation = try Sample.revocation(
            "w", .workload, "e@spiffe://acme.test\(Self.node)", replacement: true)
        try feed.issue(1, subject)
        feed.apply(.revocationUpserted(revocation))
        try feed.issue(2, subject)
        #expect(feed.serials() == ["1"])
        let hits = feed.admission.hitIdentities(of: "w")
        let again = try AdmissionFeed()
        again.apply(.revocationUpserted(revocation))
        again.admission.restoreHits(["w": hits])
        for number in 1...2 { again.admission.restore(Sample.svid(number, subject).leaf) }
        again.admission.finishRestoring()
        #expect(again.serials() == ["1"])
        // A crash between commit and the note of hits: nobody knows which were fresh, so all of this agent's are hit.
        let crashed = try AdmissionFeed()
        crashed.apply(.revocationUpserted(revocation))
        crashed.admission.restoreHits([:])
        let elsewhere = try Sample.subject("/e", entry: "e", node: Self.neighbour)
        crashed.admission.restore(Sample.svid(1, subject).leaf)
        crashed.admission.restore(Sample.svid(3, elsewhere).leaf)
        crashed.admission.finishRestoring()
        #expect(crashed.serials() == ["1"])
    }

    @Test func `what a report costs grows with what the entry has live`() async throws {
        let plane = try await Self.plane()
        let (agent, other) = (try Sample.id(Self.node), try Sample.id("/spire/agent/x/9"))
        #expect(plane.revocations.costOfEnd(entryID: "e", agent: agent) == 1)
        for number in 1...2_500 { try Self.issue(number, plane) }
        #expect(plane.revocations.costOfEnd(entryID: "e", agent: agent) == 3)
        #expect(plane.revocations.costOfEnd(entryID: "none", agent: agent) == 1)
        #expect(plane.revocations.costOfEnd(entryID: "e", agent: other) == 1, "none of its own")
    }
}
