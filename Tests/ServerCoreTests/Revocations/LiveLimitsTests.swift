import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

/// How many live SVIDs one agent may have.
@Suite struct LiveLimitsTests {
    private static let agent = "/spire/agent/x/1"

    private static func limits(agent: Int, entry: Int) -> LiveLimits {
        var limits = LiveLimits()
        (limits.perAgent, limits.perEntry) = (agent, entry)
        return limits
    }

    private static func subject(
        _ entry: String?, _ type: LeafSVIDType = .x509, agent: String = Self.agent
    ) throws -> IssuanceSubject {
        try Sample.subject(
            entry.map { "/\($0)" } ?? agent, type, entry: entry, selectors: ["k:v"], node: agent)
    }

    /// What is refused before the signature, in words; nil when it is not.
    private static func refusal(_ feed: AdmissionFeed, _ subject: IssuanceSubject) -> String? {
        do {
            _ = try feed.admission.begin(subject)
            return nil
        } catch {
            return error.code == .resourceExhausted ? error.message : "\(error.code)"
        }
    }

    @Test func `one agent has so many, and another one has its own`() throws {
        let feed = try AdmissionFeed(limits: Self.limits(agent: 4, entry: 3))
        for number in 1...4 { try feed.issue(number, try Self.subject("e\(number % 2)")) }
        let message = try #require(Self.refusal(feed, try Self.subject("e5")))
        #expect(message.contains("max_live_svids_per_agent") && message.contains(Self.agent))
        #expect(message.contains("X509-SVID of spiffe://acme.test/e5"))
        #expect(Self.refusal(feed, try Self.subject("e5", agent: "/spire/agent/x/2")) == nil)
        #expect(feed.admission.liveCount == 4)
    }

    @Test func `tokens and X509-SVIDs count apart`() throws {
        let feed = try AdmissionFeed(limits: Self.limits(agent: 2, entry: 0))
        for number in 1...2 { try feed.issue(number, try Self.subject("e\(number)", .jwt)) }
        #expect(Self.refusal(feed, try Self.subject("e3", .jwt))?.contains("2 live tokens") == true)
        #expect(Self.refusal(feed, try Self.subject("e3", .wit))?.contains("2 live tokens") == true)
        #expect(Self.refusal(feed, try Self.subject("e3")) == nil)
    }

    @Test func `one identity does not take the room of the others`() throws {
        let feed = try AdmissionFeed(limits: Self.limits(agent: 4, entry: 2))
        for number in 1...2 { try feed.issue(number, try Self.subject("e1", .jwt)) }
        #expect(
            Self.refusal(feed, try Self.subject("e1", .jwt))?.contains("max_live_svids_per_entry")
                == true)
        #expect(Self.refusal(feed, try Self.subject("e2", .jwt)) == nil)
        #expect(
            Self.refusal(feed, try Self.subject("e1", .jwt, agent: "/spire/agent/x/2")) == nil,
            "the same entry on another node")
    }

    @Test func `an agent's own SVID has room when its workloads have none`() throws {
        let feed = try AdmissionFeed(limits: Self.limits(agent: 2, entry: 2))
        for number in 1...2 { try feed.issue(number, try Self.subject("e\(number)")) }
        for number in 3...4 { try feed.issue(number, try Self.subject(nil)) }
        #expect(
            Self.refusal(feed, try Self.subject(nil))?.contains("max_live_svids_per_entry") == true)
    }

    @Test func `many that are begun together do not pass the limit together`() throws {
        let uri = "https://acme.test/statuslist"
        let feed = try AdmissionFeed(
            statusListURI: uri, limits: Self.limits(agent: 3, entry: 0))
        let subject = try Self.subject("e", .jwt)
        let tickets = try (1...5).map { _ in try feed.admission.begin(subject) }
        var released = 0
        for (number, ticket) in tickets.enumerated() {
            do throws(ServerError) {
                try feed.admission.admit(Sample.svid(number, subject, ticket: ticket))
                released += 1
            } catch {
                #expect(error.code == .resourceExhausted)
            }
        }
        #expect(released == 3 && feed.admission.liveCount == 3)
    }

    @Test func `what expires makes room, and what is minted counts nowhere`() throws {
        let feed = try AdmissionFeed(limits: Self.limits(agent: 2, entry: 1))
        let end = feed.clock.unixTime + 10
        for number in 1...2 {
            try feed.issue(number, try Self.subject("e\(number)"), expiresAt: end)
        }
        #expect(Self.refusal(feed, try Self.subject("e3")) != nil)
        for number in 10...20 { try feed.issue(number, try Sample.subject("/m")) }
        feed.clock.advance(by: 10 + RevocationAdmission.leeway)
        feed.admission.prune()
        for number in 3...4 { try feed.issue(number, try Self.subject("e\(number)")) }
        #expect(Self.refusal(feed, try Self.subject("e1")) != nil)
    }

    @Test func `what was live before a restart counts`() throws {
        let feed = try AdmissionFeed(limits: Self.limits(agent: 1, entry: 0))
        feed.admission.restore(Sample.svid(1, try Self.subject("e1")).leaf)
        feed.admission.finishRestoring()
        #expect(Self.refusal(feed, try Self.subject("e2")) != nil)
    }

    @Test func `without limits there are none`() throws {
        let feed = try AdmissionFeed(limits: .none)
        for number in 1...20 { try feed.issue(number, try Self.subject("e")) }
        #expect(feed.admission.liveCount == 20)
    }
}
