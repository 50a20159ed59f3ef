import Logging
import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

/// A directory with agents that hold sessions, told of revocations by hand.
private struct Plane {
    let directory: Directory
    let own: TrustDomain
    let partner: TrustDomain
    let agents: ConnectedAgents

    init() throws {
        self.own = try TrustDomain("acme.test")
        self.partner = try TrustDomain("partner.test")
        self.directory = Directory(trustDomain: self.own)
        self.agents = ConnectedAgents(
            directory: self.directory,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    func id(_ number: Int) throws -> SPIFFEID {
        try SPIFFEID("spiffe://acme.test/spire/agent/join_token/\(number)")
    }

    /// A session whose first update has been taken, which is given too.
    func connect(_ number: Int) async throws -> (session: SyncSession, first: SyncUpdate) {
        let node = AttestedNode(
            id: try self.id(number), attestationType: "join_token", serial: "0\(number)",
            expiresAt: .max)
        self.directory.apply([.nodeUpserted(node)], seq: self.directory.seq + 1)
        let session = self.directory.openSession(agent: try self.id(number), knownDigest: [])
        return (session, try #require(try await session.next()))
    }

    func publish(
        _ number: UInt64, crl: String = "crl", tokens: [UInt8] = [],
        of trustDomain: TrustDomain? = nil
    ) {
        self.directory.publish(
            TrustDomainLists(
                trustDomain: trustDomain ?? self.own, crls: ["k": Array(crl.utf8)],
                revokedTokens: Set(tokens.map { [UInt8](repeating: $0, count: 32) })),
            number: number)
    }
}

extension SyncSession {
    /// What waits to be taken; nil when nothing does.
    fileprivate func pending() async throws -> SyncUpdate? {
        self.settled == nil ? try await self.next() : nil
    }
}

extension RevocationNews {
    fileprivate var text: String {
        let state = self.published.state
        let crl = String(decoding: state.crls["k"] ?? [], as: UTF8.self)
        let tokens = self.isAddition ? self.published.addedTokens ?? [] : state.revokedTokens
        return "\(state.trustDomain.name) \(crl) \(self.isAddition ? "+" : "=")"
            + tokens.compactMap(\.first).sorted().map { String($0) }.joined(separator: ",")
    }
}

@Suite(.timeLimit(.minutes(1))) struct SyncRevocationTests {
    @Test func `a new session has the state at once, and nothing where none was published`()
        async throws
    {
        let plane = try Plane()
        let (before, first) = try await plane.connect(1)
        #expect(first.revocations.isEmpty && first.revocationNumber == 0)
        plane.publish(5, tokens: [1])
        let update = try #require(try await before.pending())
        #expect(update.revocations.map(\.text) == ["acme.test crl =1"])
        #expect(update.revocationNumber == 5)
        #expect(!update.changesEntries)
        let (_, second) = try await plane.connect(2)
        #expect(second.revocations.map(\.text) == ["acme.test crl =1"])
        #expect(second.revocationNumber == 5)
        #expect(
            second.revocations.first?.published === update.revocations.first?.published,
            "one state for all")
    }

    @Test func `tokens go as additions to who holds the state before, else as a whole`()
        async throws
    {
        let plane = try Plane()
        plane.publish(1, tokens: [1])
        let (quick, _) = try await plane.connect(1)
        let (slow, _) = try await plane.connect(2)
        plane.publish(2, tokens: [1, 2])
        #expect(try await quick.pending()?.revocations.map(\.text) == ["acme.test crl +2"])
        plane.publish(3, tokens: [1, 2, 3])
        #expect(try await quick.pending()?.revocations.map(\.text) == ["acme.test crl +3"])
        // Who was slow has missed a state: the newest wins, and it is whole.
        let joined = try #require(try await slow.pending())
        #expect(joined.revocations.map(\.text) == ["acme.test crl =1,2,3"])
        #expect(joined.revocationNumber == 3)
        // One that has left the set is told by the whole set.
        plane.publish(4, tokens: [1, 3])
        #expect(try await quick.pending()?.revocations.map(\.text) == ["acme.test crl =1,3"])
        plane.publish(5, crl: "again", tokens: [1, 3])
        #expect(try await quick.pending()?.revocations.map(\.text) == ["acme.test again +"])
        // What is older than what is known is left out.
        plane.publish(5, crl: "old")
        plane.publish(2, crl: "old")
        #expect(quick.settled != nil)
    }

    @Test func `a partner's state goes where entries federate with it`() async throws {
        let plane = try Plane()
        let (federated, _) = try await plane.connect(1)
        let (other, _) = try await plane.connect(2)
        plane.publish(1, crl: "partner", of: plane.partner)
        #expect(federated.settled != nil && other.settled != nil)
        var entry = try Entry.test("e", "/e", parent: "/spire/agent/join_token/1")
        entry.federatesWith = [plane.partner]
        plane.directory.apply([.entryUpserted(entry)], seq: 100)
        var update = try #require(try await federated.pending())
        #expect(update.revocations.map(\.text) == ["partner.test partner ="])
        #expect(update.revocationNumber == 1)
        plane.publish(2, crl: "newer", of: plane.partner)
        #expect(try await federated.pending()?.revocations.map(\.text) == ["partner.test newer +"])
        #expect(other.settled != nil)
        // A fresh snapshot repeats nothing.
        plane.directory.resync(federated)
        #expect(try await federated.pending()?.revocations.isEmpty == true)
        plane.directory.apply([.entryRemoved(id: "e")], seq: 101)
        update = try #require(try await federated.pending())
        #expect(update.revocations.isEmpty)
        #expect(update.removedRevocations == [plane.partner])
        #expect(update.revocationNumber == 0)
    }

    @Test func `a session holds a number once it has confirmed all that was given up to it`()
        async throws
    {
        let plane = try Plane()
        plane.publish(1)
        let (session, _) = try await plane.connect(1)
        #expect(!session.holds(revocations: 1))
        #expect(session.holds(revocations: 0))
        session.confirm(revocations: 1)
        #expect(session.holds(revocations: 1))
        // What concerns others only is held by all the rest.
        plane.publish(2, of: plane.partner)
        #expect(session.holds(revocations: 2))
        plane.publish(3)
        #expect(session.holds(revocations: 2))
        #expect(!session.holds(revocations: 3), "not even sent")
        plane.publish(4)
        _ = try await session.next()
        session.confirm(revocations: 3)
        #expect(!session.holds(revocations: 3), "it came with number 4")
        session.confirm(revocations: 4)
        #expect(session.holds(revocations: 3) && session.holds(revocations: 4))
        for number in 5..<50 as Range<UInt64> {
            plane.publish(number)
            _ = try await session.next()
        }
        session.confirm(revocations: 20)
        #expect(session.holds(revocations: 4))
        session.confirm(revocations: 49)
        #expect(session.holds(revocations: 49))
    }

    @Test func `a partner's number confirms nothing of ours, and nobody waits for it`() async throws
    {
        let plane = try Plane()
        var entry = try Entry.test("e", "/e", parent: "/spire/agent/join_token/1")
        entry.federatesWith = [plane.partner]
        plane.publish(100)
        let (session, first) = try await plane.connect(1)
        #expect(first.revocationNumber == 100)
        session.confirm(revocations: 100)
        plane.directory.apply([.entryUpserted(entry)], seq: 100)
        _ = try await session.next()
        // Larger than ours, which comes later and is not applied yet.
        plane.publish(500, crl: "partner", of: plane.partner)
        let news = try #require(try await session.pending())
        #expect(news.revocations.map(\.text) == ["partner.test partner ="])
        #expect(news.revocationNumber == 100, "says nothing new when it is confirmed")
        plane.publish(101)
        #expect(!session.holds(revocations: 101))
        _ = try await session.next()
        session.confirm(revocations: 100)
        #expect(!session.holds(revocations: 101))
        session.confirm(revocations: 101)
        #expect(session.holds(revocations: 101), "the partner's 500 is not waited for")
    }

    @Test func `what is withdrawn is forgotten, by those who come later too`() async throws {
        let plane = try Plane()
        plane.publish(1)
        var entry = try Entry.test("e", "/e", parent: "/spire/agent/join_token/1")
        entry.federatesWith = [plane.partner]
        let (session, _) = try await plane.connect(1)
        plane.directory.apply([.entryUpserted(entry)], seq: 100)
        _ = try await session.next()
        plane.publish(7, crl: "partner", of: plane.partner)
        _ = try await session.next()
        plane.directory.withdrawRevocations(of: plane.partner)
        let update = try #require(try await session.pending())
        #expect(update.removedRevocations == [plane.partner] && update.revocations.isEmpty)
        plane.directory.withdrawRevocations(of: plane.partner)
        plane.directory.withdrawRevocations(of: plane.own)
        #expect(session.settled != nil)
        #expect(plane.directory.publishedRevocations(plane.partner) == nil)
        #expect(plane.directory.publishedRevocations(plane.own) != nil)
        // Numbers may begin anew.
        plane.publish(1, crl: "again", of: plane.partner)
        #expect(
            try await session.pending()?.revocations.map(\.text) == ["partner.test again ="])
    }

    @Test func `the wait ends with the last confirmation, and with who goes away`() async throws {
        let plane = try Plane()
        plane.publish(1)
        var sessions: [SyncSession] = []
        for number in 1...3 { sessions.append(try await plane.connect(number).session) }
        for session in sessions { session.confirm(revocations: 1) }
        let at = await plane.agents.wait(number: 1, timeout: .seconds(50))
        #expect(at.agents == 3 && at.confirmed == 3 && at.waitingFor.isEmpty)
        plane.publish(2)
        for session in sessions { _ = try await session.next() }
        async let waited = plane.agents.wait(number: 2, timeout: .seconds(50))
        sessions[0].confirm(revocations: 2)
        sessions[1].confirm(revocations: 2)
        plane.directory.closeSession(sessions[2])
        let result = await waited
        #expect(result.waitingFor.isEmpty)
        #expect(result.confirmed == 2)
        #expect(result.lastConfirmation != nil)
    }

    @Test func `who does not confirm is named when the time is over`() async throws {
        let plane = try Plane()
        plane.publish(1)
        let (good, _) = try await plane.connect(1)
        let (silent, _) = try await plane.connect(2)
        good.confirm(revocations: 1)
        silent.confirm(revocations: 1)
        plane.publish(2)
        _ = try await good.next()
        _ = try await silent.next()
        good.confirm(revocations: 2)
        let result = await plane.agents.wait(number: 2, timeout: .milliseconds(20))
        #expect(result.agents == 2 && result.confirmed == 1)
        let second = try plane.id(2)
        #expect(result.waitingFor == [second])
        let none = try await Plane().agents.wait(number: 9, timeout: .seconds(50))
        #expect(
            none
                == RevocationConfirmations(
                    agents: 0, confirmed: 0, lastConfirmation: nil, waitingFor: []))
    }
}
