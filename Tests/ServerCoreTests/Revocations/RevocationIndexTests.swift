import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@Suite struct RevocationIndexTests {
    private static let now: Int64 = 1_900_000_000

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let kind: RevocationTarget.Kind
        let value: String
        var children = false
        /// Subjects by number that it covers.
        let covers: Set<Int>
        var testDescription: String { self.name }
    }

    /// The subjects that the rows speak of.
    private static func subjects() throws -> [IssuanceSubject] {
        [
            try Sample.subject(
                "/agents", entry: "e0", selectors: ["unix:uid:0"], node: "/spire/agent/x/1"),
            try Sample.subject(
                "/agents/a", .jwt, entry: "e1", selectors: ["unix:uid:1", "k:v"],
                node: "/spire/agent/x/2"),
            try Sample.subject(
                "/agents/a/b", .wit, entry: "e2", selectors: ["k:v"], node: "/spire/agent/x/1"),
            try Sample.subject("/agentsmith", entry: "e3", selectors: ["k:vv"], authority: "a2"),
            try Sample.subject("/spire/agent/x/1", node: "/spire/agent/x/1"),
            try Sample.subject("/minted"),
        ]
    }

    private static let cases: [Case] = [
        Case(name: "an ID", kind: .spiffeID, value: "spiffe://acme.test/agents", covers: [0]),
        Case(
            name: "an ID and its children, by whole segments", kind: .spiffeID,
            value: "spiffe://acme.test/agents", children: true, covers: [0, 1, 2]),
        Case(
            name: "a child alone", kind: .spiffeID, value: "spiffe://acme.test/agents/a",
            covers: [1]),
        Case(
            name: "a prefix, by whole segments", kind: .pathPrefix, value: "/agents",
            covers: [0, 1, 2]),
        Case(name: "a longer prefix", kind: .pathPrefix, value: "/agents/a", covers: [1, 2]),
        Case(name: "a prefix of nothing", kind: .pathPrefix, value: "/agent", covers: []),
        Case(name: "all agents", kind: .pathPrefix, value: "/spire/agent", covers: [4]),
        Case(name: "an entry", kind: .entryID, value: "e2", covers: [2]),
        Case(name: "an entry of which there is none", kind: .entryID, value: "e", covers: []),
        Case(
            name: "an agent: its own and what went through it", kind: .agentID,
            value: "spiffe://acme.test/spire/agent/x/1", covers: [0, 2, 4]),
        Case(name: "a selector, whole", kind: .selector, value: "k:v", covers: [1, 2]),
        Case(name: "a selector of another type", kind: .selector, value: "K:v", covers: []),
        Case(name: "an authority", kind: .authorityID, value: "a1", covers: [0, 1, 2, 4, 5]),
        Case(name: "a serial number", kind: .serial, value: "3", covers: [3]),
        Case(name: "a jti", kind: .jti, value: "jti-1", covers: [1]),
        Case(name: "a serial number that is a jti", kind: .jti, value: "3", covers: []),
    ]

    @Test(arguments: cases) func `each target covers what it says and nothing else`(one: Case)
        throws
    {
        let revocation = try Sample.revocation("r", one.kind, one.value, children: one.children)
        var index = RevocationIndex()
        // Others, so that nothing is found only because it is alone.
        index.upsert(try Sample.revocation("o1", .pathPrefix, "/other"))
        index.upsert(try Sample.revocation("o2", .selector, "other:x"))
        index.upsert(revocation)
        let feed = try AdmissionFeed()
        for (number, subject) in try Self.subjects().enumerated() {
            let leaf = Sample.svid(number, subject).leaf
            let found = index.covering(subject, serial: leaf.serial, jti: leaf.jti)
            #expect(found == (one.covers.contains(number) ? [revocation] : []), "subject \(number)")
            // What the table finds is the same.
            try feed.issue(number, subject)
        }
        feed.apply(.revocationUpserted(revocation))
        let hits = feed.admission.hits(revocation)
        #expect(hits.svids == one.covers.count)
        #expect(feed.admission.hitIdentities(of: "r").count == 16 * one.covers.count)
        index.remove(id: "r")
        for subject in try Self.subjects() {
            #expect(index.covering(subject, serial: "3", jti: "jti-1").isEmpty)
        }
    }

    @Test func `a replacement and an ended one block nothing`() throws {
        let subject = try Sample.subject("/a")
        var index = RevocationIndex()
        index.upsert(
            try Sample.revocation("r1", .spiffeID, "spiffe://acme.test/a", replacement: true))
        index.upsert(try Sample.revocation("r2", .pathPrefix, "/a", until: Self.now + 10))
        #expect(index.blocking(subject, now: Self.now + 9)?.id == "r2")
        #expect(index.blocking(subject, now: Self.now + 10) == nil)
        #expect(index.expired(at: Self.now + 9).isEmpty)
        #expect(index.expired(at: Self.now + 10).map(\.id) == ["r2"])
        #expect(index.covering(subject).count == 2)
    }

    @Test func `of several the oldest is named`() throws {
        var index = RevocationIndex()
        index.upsert(try Sample.revocation("b", .pathPrefix, "/a", at: 20))
        index.upsert(try Sample.revocation("c", .spiffeID, "spiffe://acme.test/a", at: 10))
        index.upsert(try Sample.revocation("a", .selector, "k:v", at: 20))
        let subject = try Sample.subject("/a", selectors: ["k:v"])
        #expect(index.blocking(subject, now: 30)?.id == "c")
        index.remove(id: "c")
        #expect(index.blocking(subject, now: 30)?.id == "a")
        #expect(index.ordered.map(\.id) == ["a", "b"])
        index.remove(id: "a")
        index.remove(id: "b")
        #expect(index.isEmpty && index.blocking(subject, now: 30) == nil)
    }

    @Test func `an agent is kept out by its ID, by its path and by its serial number`() throws {
        let agent = try Sample.id("/spire/agent/x/1")
        let rows: [(RevocationTarget.Kind, String)] = [
            (.agentID, agent.string), (.spiffeID, agent.string), (.pathPrefix, "/spire/agent/x"),
            (.serial, "ab"),
        ]
        for (kind, value) in rows {
            var index = RevocationIndex()
            index.upsert(try Sample.revocation("r", kind, value))
            #expect(index.blocking(agent: agent, serial: "ab", now: Self.now)?.id == "r")
            #expect(
                index.blocking(
                    agent: try Sample.id("/spire/agent/y/1"), serial: "ac", now: Self.now) == nil)
        }
    }

    @Test func `paths with many revocations are told apart`() throws {
        var random = SeededGenerator(seed: 7)
        var index = RevocationIndex()
        var prefixes: [String: String] = [:]
        for number in 0..<2_000 {
            let depth = Int.random(in: 1...4, using: &random)
            let path = (0..<depth).map { _ in
                "/" + ["a", "b", "ab", "abc"].randomElement(using: &random)!
            }.joined()
            index.upsert(try Sample.revocation("r\(number)", .pathPrefix, path))
            prefixes["r\(number)"] = path
            if number % 3 == 0, let gone = prefixes.keys.randomElement(using: &random) {
                index.remove(id: gone)
                prefixes[gone] = nil
            }
        }
        for _ in 0..<300 {
            let depth = Int.random(in: 1...5, using: &random)
            let segments = (0..<depth).map { _ in
                ["a", "b", "ab", "abc"].randomElement(using: &random)!
            }
            let path = "/" + segments.joined(separator: "/")
            let expected = prefixes.filter { entry in
                let own = entry.value.split(separator: "/").map(String.init)
                return segments.starts(with: own)
            }.keys
            let found = index.covering(try Sample.subject(path)).map(\.id)
            #expect(Set(found) == Set(expected) && found.count == expected.count)
        }
    }
}
