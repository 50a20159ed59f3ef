import Foundation
import Logging
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import Testing
import X509

@testable import AgentCore

@Suite("SVIDs that end with their processes, on the agent", .timeLimit(.minutes(1)))
struct WorkloadEndTests {
    private func entry(_ id: String, revokes: Bool = true, revision: Int64 = 0) throws
        -> AuthorizedEntry
    {
        var entry = try AuthorizedEntry.make(id, ["unix:uid:1"], revision: revision)
        entry.revokesOnExit = revokes
        return entry
    }

    @Test("the last process ends: told once, fresh SVIDs wait for the answer and have another key")
    func last() throws {
        let session = try EndingSession([try self.entry("a")])
        let (first, second) = (EndingProcess(1), EndingProcess(2))
        let stream = try session.serve(first)
        let old = try #require(stream.last?.identities.first?.svid)
        // From the cache, on a connection that closes again.
        let other = try session.serve(second)
        #expect(other.serials == stream.serials)
        session.identities.unsubscribe(stream.subscription)
        session.identities.unsubscribe(other.subscription)
        first.end()
        #expect(session.requests().ends.isEmpty, "the second one has it still")
        #expect(session.identities.counts.x509SVIDs == 1)
        second.end()
        #expect(session.identities.counts.x509SVIDs == 0)
        let told = session.requests()
        #expect(told.ends.map(\.entry) == ["a"] && told.x509.isEmpty)
        // A third process, before the server has answered.
        let third = try session.listen()
        #expect(third.last == nil && session.requests().x509.isEmpty)
        session.confirm(told.ends[0].id)
        try session.sign()
        let fresh = try #require(third.last?.identities.first?.svid)
        #expect(fresh.serialNumber != old.serialNumber)
        #expect(fresh.privateKeyDER != old.privateKeyDER)
        #expect(session.requests().ends.isEmpty)
    }

    @Test("an entry without the option costs nothing and is left alone")
    func without() throws {
        let session = try EndingSession([try self.entry("a", revokes: false)])
        let process = EndingProcess(1)
        let stream = try session.serve(process)
        session.identities.unsubscribe(stream.subscription)
        process.end()
        #expect(process.watches == 0 && session.identities.servedProcessCount == 0)
        #expect(session.requests().ends.isEmpty && session.identities.counts.x509SVIDs == 1)
    }

    @Test("only the entries with the option end, also where one process has several")
    func mixed() throws {
        let session = try EndingSession([try self.entry("a"), try self.entry("b", revokes: false)])
        let process = EndingProcess(1)
        let stream = try session.serve(process)
        #expect(stream.serials.count == 2)
        session.identities.unsubscribe(stream.subscription)
        process.end()
        #expect(session.requests().ends.map(\.entry) == ["a"])
        #expect(session.identities.counts.x509SVIDs == 1)
    }

    @Test("a process that has ended before its watch began is handed nothing")
    func ended() throws {
        let session = try EndingSession([try self.entry("a")])
        let stream = try session.listen()
        try session.sign()
        let view = try #require(stream.last)
        #expect(
            try session.identities.hand(view, to: EndingProcess(1, isAlive: false)) == .forgotten)
        #expect(session.identities.servedProcessCount == 0)
        #expect(session.requests().ends.map(\.entry) == ["a"])
    }

    @Test(
        "what waits in a stream's mailbox when the last process ends is not handed over; another comes"
    )
    func stale() throws {
        let session = try EndingSession([try self.entry("a")])
        let first = EndingProcess(1)
        _ = try session.serve(first)
        let waiting = try session.listen()
        let stale = try #require(waiting.last)
        first.end()
        let second = EndingProcess(2)
        #expect(try session.identities.hand(stale, to: second) == .forgotten)
        let told = session.requests().ends
        session.confirm(try #require(told.first).id)
        try session.sign()
        let fresh = try #require(waiting.last)
        #expect(fresh !== stale)
        #expect(try session.identities.hand(fresh, to: second) == .handed)
        second.end()
        #expect(session.requests().ends.map(\.entry) == ["a"])
    }

    @Test("a number that is used again does not stand for the process that had it")
    func reusedNumber() throws {
        let session = try EndingSession([try self.entry("a")])
        let (old, new) = (EndingProcess(7, startTime: 1), EndingProcess(7, startTime: 2))
        _ = try session.serve(old)
        _ = try session.serve(new)
        old.end()
        #expect(session.requests().ends.isEmpty)
        new.end()
        #expect(session.requests().ends.map(\.entry) == ["a"])
    }

    @Test("tokens count like certificates, also those from the cache")
    func tokens() async throws {
        let session = try EndingSession([try self.entry("a")])
        let (first, second) = (EndingProcess(1), EndingProcess(2))
        let wanted = try selectors("unix:uid:1")
        let identities = session.identities
        async let signed = identities.jwtSVIDs(
            wanted, audience: ["x"], spiffeID: nil, for: first)
        while try !session.answerTokens("one") { await Task.yield() }
        #expect(try await signed.map(\.svid.token) == ["one"])
        func held(_ process: EndingProcess) throws -> [String]? {
            try identities.heldJWTSVIDs(wanted, audience: ["x"], spiffeID: nil, for: process)?
                .map(\.svid.token)
        }
        #expect(try held(second) == ["one"])
        first.end()
        #expect(try held(second) == ["one"])
        second.end()
        let told = session.requests()
        #expect(told.ends.map(\.entry) == ["a"])
        // A third one asks before the server has answered, and is given a new one afterwards.
        let third = EndingProcess(3)
        #expect(try held(third) == nil)
        async let fresh = identities.jwtSVIDs(
            wanted, audience: ["x"], spiffeID: nil, for: third)
        for _ in 0..<100 {
            await Task.yield()
            #expect(session.requests().jwt.isEmpty)
        }
        session.confirm(told.ends[0].id)
        while try !session.answerTokens("two") { await Task.yield() }
        #expect(try await fresh.map(\.svid.token) == ["two"])
    }

    @Test("the connection is lost before the answer: told again, and nothing is signed in between")
    func reconnected() throws {
        let session = try EndingSession([try self.entry("a")])
        let process = EndingProcess(1)
        let stream = try session.serve(process)
        session.identities.unsubscribe(stream.subscription)
        process.end()
        let first = session.requests().ends
        session.identities.disconnected(reason: "test")
        let next = try session.listen()
        _ = session.identities.begin(isPush: true)
        let again = session.requests()
        #expect(again.ends.map(\.entry) == ["a"] && again.x509.isEmpty)
        #expect(again.ends.map(\.id) != first.map(\.id))
        session.confirm(again.ends[0].id)
        try session.sign()
        #expect(next.last != nil)
    }

    @Test("the server cannot revoke yet: told again when it is time, and not before")
    func retried() throws {
        let session = try EndingSession([try self.entry("a")])
        let process = EndingProcess(1)
        _ = try session.serve(process)
        process.end()
        let told = session.requests().ends
        session.identities.receive(
            .workloadEnd(
                requestID: try #require(told.first).id,
                .failure(IssuanceRefusal(code: 14, message: "store"))))
        let resting = session.requests()
        #expect(resting.ends.isEmpty && resting.x509.isEmpty)
        session.identities.disconnected(reason: "test")
        _ = session.identities.begin(isPush: true)
        #expect(session.requests().ends.map(\.entry) == ["a"])
    }

    @Test("a server without such an entry closes the report, and the agent goes on")
    func refused() throws {
        let session = try EndingSession([try self.entry("a")])
        let process = EndingProcess(1)
        _ = try session.serve(process)
        process.end()
        let told = session.requests().ends
        session.identities.receive(
            .workloadEnd(
                requestID: try #require(told.first).id,
                .failure(IssuanceRefusal(code: 5, message: "unknown"))))
        let next = try session.listen()
        try session.sign()
        #expect(next.last != nil && session.requests().ends.isEmpty)
    }

    @Test("the option is switched off while a process runs: its end is none of ours")
    func switchedOff() throws {
        let session = try EndingSession([try self.entry("a")])
        let process = EndingProcess(1)
        _ = try session.serve(process)
        session.identities.receive(
            .entries(EntryChange(upserted: [try self.entry("a", revokes: false, revision: 1)])))
        process.end()
        #expect(session.requests().ends.isEmpty)
    }

    @Test("the option is switched on: open streams are given new SVIDs, and their processes count")
    func switchedOn() throws {
        let session = try EndingSession([try self.entry("a", revokes: false)])
        let process = EndingProcess(1)
        let stream = try session.serve(process)
        let before = stream.serials
        session.identities.receive(
            .entries(EntryChange(upserted: [try self.entry("a", revision: 1)])))
        try session.sign()
        #expect(stream.serials != before)
        #expect(
            try session.identities.hand(try #require(stream.last), to: process) == .handed)
        process.end()
        #expect(session.requests().ends.map(\.entry) == ["a"])
    }

    @Test(
        "an entry that has left the agent's set may be suspended: the server is told all the same")
    func removed() throws {
        let session = try EndingSession([try self.entry("a")])
        let process = EndingProcess(1)
        _ = try session.serve(process)
        session.identities.receive(.entries(EntryChange(removedIDs: ["a"])))
        process.end()
        #expect(session.requests().ends.map(\.entry) == ["a"])
    }

    @Test("with a server that is polled SVIDs are forgotten, and nothing waits for a report")
    func polled() throws {
        let session = try EndingSession([try self.entry("a")])
        let process = EndingProcess(1)
        let stream = try session.serve(process)
        session.identities.unsubscribe(stream.subscription)
        _ = session.identities.begin(isPush: false)
        process.end()
        #expect(session.identities.counts.x509SVIDs == 0)
        let next = try session.listen()
        try session.sign()
        #expect(next.serials.count == 1 && session.requests().ends.isEmpty)
    }

    @Test("where the system does not tell of ends, processes are asked when it is time")
    func unwatched() throws {
        let session = try EndingSession([try self.entry("a")])
        let process = EndingProcess(1, tellsEnd: false)
        let stream = try session.serve(process)
        session.identities.unsubscribe(stream.subscription)
        process.end()
        session.identities.lookAtUnwatched()
        #expect(session.requests().ends.isEmpty, "not yet")
        session.now.withLockedValue {
            $0 = $0.addingTimeInterval(WorkloadIdentities.lookInterval + 1)
        }
        session.identities.lookAtUnwatched()
        #expect(session.requests().ends.map(\.entry) == ["a"])
    }
}
