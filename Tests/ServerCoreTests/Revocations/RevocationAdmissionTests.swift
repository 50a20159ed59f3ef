import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@Suite struct RevocationAdmissionTests {
    private static let uri = "https://acme.test/statuslist/1"

    @Test func `what is revoked is refused before the signature and before the release`() throws {
        let feed = try AdmissionFeed()
        let subject = try Sample.subject("/a")
        _ = try feed.admission.begin(subject)
        feed.apply(.revocationUpserted(try Sample.revocation("r1", .pathPrefix, "/a")))
        let error = #expect(throws: ServerError.self) {
            try feed.admission.admit(Sample.svid(1, subject))
        }
        #expect(error?.code == .failedPrecondition)
        #expect(error?.revocationID == "r1", "the ledger says by what it was refused")
        #expect(error?.message.contains("r1") == true && error?.message.contains("stolen") == true)
        #expect(feed.isRefused(subject, by: "r1"))
        #expect(feed.admission.liveCount == 0 && feed.serials().isEmpty)
    }

    @Test func `an SVID admitted before the commit is found by it`() throws {
        let feed = try AdmissionFeed()
        try feed.issue(0xA1, try Sample.subject("/a"))
        try feed.issue(0xB1, try Sample.subject("/b"))
        feed.apply(
            .revocationUpserted(try Sample.revocation("r1", .spiffeID, "spiffe://acme.test/a")))
        #expect(feed.serials() == ["a1"])
        #expect(feed.admission.revocation(ofSerial: "a1")?.id == "r1")
        #expect(feed.admission.revocation(ofSerial: "b1") == nil)
    }

    @Test func `refused or found: never neither, however commit and admit meet`() async throws {
        for round in 0..<40 {
            let feed = try AdmissionFeed()
            let admission = feed.admission
            let directory = feed.directory
            let subjects = try (0..<8).map { try Sample.subject("/a/\($0)", entry: "e\($0)") }
            let revocation = try Sample.revocation("r", .pathPrefix, "/a")
            let released = NIOLockedValueBox<Set<String>>([])
            await withTaskGroup(of: Void.self) { group in
                for (number, subject) in subjects.enumerated() {
                    group.addTask {
                        for step in 1...20 {
                            let serial = number * 1_000 + step
                            do {
                                _ = try admission.begin(subject)
                                try admission.admit(Sample.svid(serial, subject))
                            } catch { continue }
                            released.withLockedValue { _ = $0.insert(String(serial, radix: 16)) }
                        }
                    }
                }
                group.addTask {
                    for _ in 0..<round { await Task.yield() }
                    directory.apply([.revocationUpserted(revocation)], seq: 1)
                }
            }
            #expect(feed.serials() == released.withLockedValue { $0 })
            #expect(feed.isRefused(subjects[0], by: "r"))
        }
    }

    @Test func `a replacement hits what was admitted before, and nothing after`() throws {
        let feed = try AdmissionFeed()
        let subject = try Sample.subject("/a", entry: "e", node: "/spire/agent/x/1")
        try feed.issue(1, subject)
        feed.apply(
            .revocationUpserted(try Sample.revocation("r", .entryID, "e", replacement: true)))
        try feed.issue(2, subject)
        #expect(feed.serials() == ["1"])
        feed.apply(
            .revocationUpserted(
                try Sample.revocation(
                    "q", .agentID, "spiffe://acme.test/spire/agent/x/1", replacement: true)))
        #expect(feed.serials() == ["1", "2"])
        try feed.issue(3, subject)
        #expect(feed.serials() == ["1", "2"])
    }

    @Test(arguments: [
        ("spiffe_id", "spiffe://acme.test/a/w", false), ("path_prefix", "/a", false),
        ("entry_id", "e", false), ("entry_id", "above", true), ("selector", "k:v", false),
        ("agent_id", "spiffe://acme.test/spire/agent/x/1", false), ("authority_id", "a1", false),
        ("serial", "1", false),
    ])
    func `signed before a replacement is not released after it`(
        kind: String, value: String, children: Bool
    ) throws {
        let feed = try AdmissionFeed()
        feed.apply(
            .entryUpserted(try .test("above", "/above", parent: "/spire/agent/x/1")),
            .entryUpserted(try .test("e", "/a/w", parent: "/above")))
        let subject = try Sample.subject(
            "/a/w", entry: "e", selectors: ["k:v"], node: "/spire/agent/x/1")
        let other = try Sample.subject("/b", entry: "f", authority: "a2")
        let (early, otherEarly) = (
            try feed.admission.begin(subject), try feed.admission.begin(other)
        )
        let target = try #require(RevocationTarget.Kind(rawValue: kind))
        feed.apply(
            .revocationUpserted(
                try Sample.revocation("p", target, value, children: children, replacement: true)))
        let error = #expect(throws: ServerError.self) {
            try feed.admission.admit(Sample.svid(1, subject, ticket: early))
        }
        #expect(error?.code == .unavailable && error?.revocationID == "p")
        #expect(feed.admission.liveCount == 0)
        try feed.admission.admit(Sample.svid(3, other, ticket: otherEarly))
        // Nothing but what was under way is refused, and only while the replacement is in force.
        try feed.issue(2, subject)
        feed.apply(.revocationRemoved(id: "p"))
        try feed.admission.admit(Sample.svid(1, subject, ticket: early))
    }

    @Test func `a replacement that is told twice counts once, and a place is free again`() throws {
        let feed = try AdmissionFeed(statusListURI: Self.uri)
        let subject = try Sample.subject("/a", .jwt)
        let early = try feed.admission.begin(subject)
        let replacement = try Sample.revocation("p", .pathPrefix, "/a", replacement: true)
        feed.apply(.revocationUpserted(replacement), .revocationUpserted(replacement))
        #expect(throws: ServerError.self) {
            try feed.admission.admit(Sample.svid(1, subject, ticket: early))
        }
        #expect(try feed.issue(2, subject)?.index == early.status?.index, "its place is free again")
    }

    @Test func `a lifted suspension gives back what no other revocation covers`() throws {
        let feed = try AdmissionFeed()
        let (one, two) = (try Sample.subject("/a/1"), try Sample.subject("/a/2"))
        try feed.issue(1, one)
        try feed.issue(2, two)
        feed.apply(
            .revocationUpserted(try Sample.revocation("s", .pathPrefix, "/a", suspension: true)))
        #expect(feed.serials() == ["1", "2"])
        #expect(feed.admission.revokedCertificates(authorityID: "a1").allSatisfy { $0.isSuspended })
        feed.apply(.revocationUpserted(try Sample.revocation("f", .serial, "2")))
        let held = feed.admission.revokedCertificates(authorityID: "a1")
        #expect(
            Dictionary(uniqueKeysWithValues: held.map { ($0.serial, $0.isSuspended) }) == [
                "1": true, "2": false,
            ])
        feed.apply(.revocationRemoved(id: "s"))
        #expect(feed.serials() == ["2"])
        #expect(throws: Never.self) { try feed.issue(3, one) }
        #expect(feed.serials() == ["2"])
        feed.apply(.revocationRemoved(id: "f"))
        #expect(feed.serials().isEmpty)
    }

    @Test func `from its second on an expired revocation refuses nothing`() throws {
        let feed = try AdmissionFeed()
        let subject = try Sample.subject("/a", entry: "e")
        feed.apply(.entryUpserted(try .test("e", "/a", parent: "/spire/agent/x/1")))
        feed.apply(
            .revocationUpserted(
                try Sample.revocation("r", .entryID, "e", until: feed.clock.unixTime + 5)))
        #expect(feed.isRefused(subject, by: "r"))
        feed.clock.advance(by: 4)
        #expect(feed.isRefused(subject, by: "r"))
        feed.clock.advance(by: 1)
        #expect(throws: Never.self) { try feed.issue(1, subject) }
        // Another that came later and covers the same is still in force.
        feed.apply(.revocationUpserted(try Sample.revocation("q", .pathPrefix, "/a")))
        #expect(feed.isRefused(subject, by: "q"))
    }

    @Test func `tokens have places in the status list, and the lists follow`() throws {
        let feed = try AdmissionFeed(statusListURI: Self.uri)
        let jwt = try Sample.subject("/a", .jwt)
        let wit = try Sample.subject("/b", .wit)
        #expect(try feed.issue(1, jwt) == StatusReference(uri: Self.uri, index: 0))
        #expect(try feed.issue(2, wit)?.index == 1)
        #expect(try feed.issue(3, jwt)?.index == 2)
        #expect(try feed.issue(4, try Sample.subject("/a")) == nil)
        let changes = NIOLockedValueBox(0)
        feed.admission.onChange { changes.withLockedValue { $0 += 1 } }
        feed.apply(.revocationUpserted(try Sample.revocation("s", .jti, "jti-1", suspension: true)))
        #expect(feed.admission.revokedStatuses() == [0: false])
        #expect(feed.admission.revokedTokens() == [Sample.inputDigest(1)])
        feed.apply(.revocationUpserted(try Sample.revocation("r", .pathPrefix, "/a")))
        #expect(feed.admission.revokedStatuses() == [0: true, 2: true])
        #expect(feed.admission.revokedTokens() == [Sample.inputDigest(1), Sample.inputDigest(3)])
        #expect(feed.serials() == ["4"])
        #expect(changes.withLockedValue { $0 } == 2)
        feed.apply(.revocationUpserted(try Sample.revocation("n", .jti, "none")))
        #expect(changes.withLockedValue { $0 } == 2, "nothing was hit")
    }

    @Test func `a place is given away when its token has expired, later when it was revoked`()
        throws
    {
        let feed = try AdmissionFeed(statusListURI: Self.uri)
        let start = feed.clock.unixTime
        for number in 0..<3 {
            try feed.issue(number, try Sample.subject("/\(number)", .jwt), expiresAt: start + 10)
        }
        feed.apply(
            .revocationUpserted(try Sample.revocation("r", .spiffeID, "spiffe://acme.test/1")))
        feed.clock.advance(by: 10 + RevocationAdmission.leeway - 1)
        feed.admission.prune()
        #expect(feed.admission.revokedStatuses() == [1: true], "clocks may be late")
        feed.clock.advance(by: 1)
        feed.admission.prune()
        #expect(feed.admission.liveCount == 0 && feed.admission.revokedStatuses().isEmpty)
        let next = try (10..<13).map {
            try feed.issue($0, try Sample.subject("/x", .jwt), expiresAt: start + 100_000)?.index
        }
        #expect(Set(next) == [0, 2, 3])
        feed.clock.advance(by: 3_600)
        #expect(
            try feed.issue(13, try Sample.subject("/x", .jwt), expiresAt: start + 100_000)?.index
                == 1)
    }

    @Test func `a place of a token that is never released is used again`() throws {
        let feed = try AdmissionFeed(statusListURI: Self.uri)
        let subject = try Sample.subject("/a", .jwt)
        let late = try feed.admission.begin(subject)
        #expect(late.status?.index == 0)
        feed.clock.advance(by: 3_600)
        #expect(try feed.issue(1, subject, expiresAt: .max)?.index == 0)
        let error = #expect(throws: ServerError.self) {
            try feed.admission.admit(Sample.svid(2, subject, ticket: late))
        }
        #expect(error?.code == .unavailable)
    }

    @Test func `after a restart the same is revoked, and what was fresh is fresh`() throws {
        let feed = try AdmissionFeed(statusListURI: Self.uri)
        let subject = try Sample.subject("/a", entry: "e", selectors: ["k:v"])
        let token = try Sample.subject("/a", .jwt, entry: "e", selectors: ["k:v"])
        try feed.issue(1, subject)
        try feed.issue(2, token)
        let replacement = try Sample.revocation("p", .entryID, "e", replacement: true)
        let bySelector = try Sample.revocation("s", .selector, "k:w")
        feed.apply(.revocationUpserted(replacement))
        try feed.issue(3, subject)
        let third = try feed.issue(4, token)?.index
        let other = try Sample.subject("/b", entry: "f", selectors: ["k:w"])
        try feed.issue(5, other)
        feed.apply(.revocationUpserted(bySelector))

        func restart(_ hits: [String: [UInt8]]) throws -> AdmissionFeed {
            let again = try AdmissionFeed(statusListURI: Self.uri)
            again.apply(.revocationUpserted(replacement), .revocationUpserted(bySelector))
            again.admission.restoreHits(hits)
            for (number, subject, place) in [
                (1, subject, nil), (2, token, 0), (3, subject, nil), (4, token, third),
                (5, other, nil),
            ] as [(Int, IssuanceSubject, Int64?)] {
                let svid = Sample.svid(number, subject)
                again.admission.restore(
                    svid.leaf, signingInputDigest: svid.signingInputDigest, statusIndex: place)
            }
            again.admission.finishRestoring()
            return again
        }
        let hits = ["p", "s"].map { ($0, feed.admission.hitIdentities(of: $0)) }
        let again = try restart(Dictionary(uniqueKeysWithValues: hits))
        #expect(again.serials() == feed.serials() && feed.serials() == ["1", "5"])
        #expect(again.admission.revokedTokens() == feed.admission.revokedTokens())
        #expect(again.admission.revokedStatuses() == [0: true])
        #expect(again.admission.liveCount == 5)
        #expect(try again.issue(6, token)?.index == 2, "no place of a live token is given away")
        // Interrupted before its hits were stored, a replacement covers what comes back.
        let interrupted = try restart(["s": feed.admission.hitIdentities(of: "s")])
        #expect(interrupted.serials() == ["1", "3", "5"])
        try interrupted.issue(7, subject)
        #expect(interrupted.serials() == ["1", "3", "5"])
    }

    @Test func `what has expired does not come back`() throws {
        let feed = try AdmissionFeed()
        let now = feed.clock.unixTime
        for (number, end) in [(1, now - 61), (2, now - 60), (3, now - 59), (4, now + 1)] {
            feed.admission.restore(
                Sample.svid(number, try Sample.subject("/a"), expiresAt: end).leaf,
                signingInputDigest: nil, statusIndex: nil)
        }
        feed.admission.finishRestoring()
        #expect(feed.admission.liveCount == 2)
    }

    @Test func `hits are counted by type and ID, without what has expired`() throws {
        let feed = try AdmissionFeed()
        let now = feed.clock.unixTime
        for number in 0..<150 {
            try feed.issue(number + 1, try Sample.subject("/a/\(number)"))
        }
        try feed.issue(1_000, try Sample.subject("/a/0", .jwt))
        try feed.issue(1_001, try Sample.subject("/a/0", .wit))
        try feed.issue(1_002, try Sample.subject("/a/gone", .wit), expiresAt: now)
        let hits = feed.admission.hits(try Sample.revocation("r", .pathPrefix, "/a"))
        #expect(hits.x509SVIDs == 150 && hits.jwtSVIDs == 1 && hits.witSVIDs == 1)
        #expect(hits.spiffeIDCount == 150 && hits.spiffeIDs.count == RevocationHits.maxNamed)
        #expect(hits.spiffeIDs == hits.spiffeIDs.sorted())
        #expect(feed.serials().isEmpty, "counting revokes nothing")
    }
}
