import SPIFFE
import Testing

@testable import ServerCore

@Suite struct SessionTallyTests {
    /// Stands for a session.
    private final class Token: Sendable {}

    private let one = Token()
    private let two = Token()
    private let agent: SPIFFEID
    private let other: SPIFFEID

    init() throws {
        self.agent = try SPIFFEID("spiffe://acme.test/spire/agent/x/1")
        self.other = try SPIFFEID("spiffe://acme.test/spire/agent/x/2")
    }

    @Test func `an agent is waited for while a session of it is not done`() {
        var tally = SessionTally(required: [])
        #expect(tally.pending.isEmpty)
        tally.note(ObjectIdentifier(self.one), of: self.agent, .pending)
        tally.note(ObjectIdentifier(self.two), of: self.other, .done)
        #expect(tally.pending == [self.agent])
        // Told again, nothing changes.
        tally.note(ObjectIdentifier(self.one), of: self.agent, .pending)
        #expect(tally.pending == [self.agent])
        tally.note(ObjectIdentifier(self.one), of: self.agent, .done)
        #expect(tally.pending.isEmpty)
    }

    @Test func `with two sessions both count`() {
        var tally = SessionTally(required: [self.agent])
        tally.note(ObjectIdentifier(self.one), of: self.agent, .done)
        tally.note(ObjectIdentifier(self.two), of: self.agent, .pending)
        #expect(tally.pending == [self.agent])
        tally.note(ObjectIdentifier(self.two), of: self.agent, .ended)
        #expect(tally.pending.isEmpty)
    }

    @Test func `who is required must come back, and others need not`() {
        var tally = SessionTally(required: [self.agent])
        #expect(tally.pending == [self.agent], "before anything is known")
        tally.note(ObjectIdentifier(self.one), of: self.agent, .pending)
        tally.note(ObjectIdentifier(self.two), of: self.other, .pending)
        tally.note(ObjectIdentifier(self.one), of: self.agent, .ended)
        tally.note(ObjectIdentifier(self.two), of: self.other, .ended)
        #expect(tally.pending == [self.agent])
        tally.note(ObjectIdentifier(self.two), of: self.agent, .done)
        #expect(tally.pending.isEmpty)
        // And stay.
        tally.note(ObjectIdentifier(self.two), of: self.agent, .ended)
        #expect(tally.pending == [self.agent])
    }
}
