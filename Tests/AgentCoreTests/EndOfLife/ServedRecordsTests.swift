import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import Testing

@testable import AgentCore

/// Records whose writing takes until the test says so.
private final class GatedStore: ServedProcessStore {
    private struct State {
        var saved: [ServedRecords] = []
        var pending: [CheckedContinuation<Void, any Error>] = []
        var seen = 0
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let loaded: Result<ServedRecords?, AgentError>
    private let state = NIOLockedValueBox(State())

    init(_ loaded: Result<ServedRecords?, AgentError> = .success(nil)) { self.loaded = loaded }

    var saved: [ServedRecords] { self.state.withLockedValue { $0.saved } }

    func load() throws -> ServedRecords? { try self.loaded.get() }

    func save(_ records: ServedRecords) async throws {
        try await withCheckedThrowingContinuation { done in
            let waiter = self.state.withLockedValue { state in
                state.saved.append(records)
                state.pending.append(done)
                defer { state.waiter = nil }
                if state.waiter != nil { state.seen += 1 }
                return state.waiter
            }
            waiter?.resume()
        }
    }

    /// Returns when a write has begun that no earlier call returned for.
    func begun() async {
        await withCheckedContinuation { waiter in
            let isThere = self.state.withLockedValue { state in
                if state.saved.count > state.seen {
                    state.seen += 1
                    return true
                }
                state.waiter = waiter
                return false
            }
            if isThere { waiter.resume() }
        }
    }

    func finish(_ error: AgentError? = nil) {
        let done = self.state.withLockedValue { state in
            defer { state.pending = [] }
            return state.pending
        }
        for one in done {
            if let error { one.resume(throwing: error) } else { one.resume() }
        }
    }
}

@Suite("Processes on record", .timeLimit(.minutes(1)))
struct ServedRecordsTests {
    private let diskFull = AgentError(.state, "disk full")

    private func entry(_ id: String, revokes: Bool = true) throws -> AuthorizedEntry {
        var entry = try AuthorizedEntry.make(id, ["unix:uid:1"], revision: 0)
        entry.revokesOnExit = revokes
        return entry
    }

    private func record(
        _ pid: Int32, _ entryIDs: Set<String>, startTime: UInt64 = 1
    ) -> ServedRecords.Process {
        ServedRecords.Process(pid: pid, startTime: startTime, uid: 1000, entryIDs: entryIDs)
    }

    // MARK: What has become of it

    @Test("gone, another process under the number, another run of the machine: the entry has ended")
    func found() {
        let records = ServedRecords(
            processes: [
                self.record(1, ["a", "b"]), self.record(2, ["b", "c"]),
                self.record(3, ["d"], startTime: 7), self.record(4, ["e"]),
            ], untold: ["e", "f"])
        var asked: [Int32] = []
        let (living, ended) = records.found { pid in
            asked.append(pid)
            return pid == 2 ? nil : EndingProcess(pid)
        }
        #expect(asked == [1, 2, 3, 4])
        #expect(living.map(\.record.pid) == [1, 4])
        // "b" lives on in the first; "e" lives, and the server has not heard of an end before.
        #expect(ended == ["c", "d", "e", "f"])
    }

    @Test("after a restart of the machine nobody lives, whatever has the numbers now")
    func otherBoot() {
        let records = ServedRecords(
            processes: [self.record(1, ["a"]), self.record(2, ["b"])], isOfThisBoot: false)
        let (living, ended) = records.found { EndingProcess($0) }
        #expect(living.isEmpty && ended == ["a", "b"])
    }

    // MARK: How far the writing is

    @Test("one write at a time; what came meanwhile goes into the next")
    func coalesces() {
        var recording = ServedRecording(isOn: true)
        #expect(recording.begin(.init(served: 0, ends: 0)) == false, "nothing has changed")
        #expect(recording.begin(.init(served: 1, ends: 0)) == true)
        #expect(recording.begin(.init(served: 5, ends: 2)) == false)
        #expect(recording.standing(of: 1) == .pending)
        #expect(recording.finished(succeeded: true).count == 0)
        #expect(recording.standing(of: 1) == .recorded)
        #expect(recording.standing(of: 2) == .pending)
        #expect(recording.begin(.init(served: 5, ends: 2)) == true)
        _ = recording.finished(succeeded: true)
        #expect(recording.standing(of: 5) == .recorded)
        #expect(recording.begin(.init(served: 5, ends: 2)) == false)
        #expect(recording.begin(.init(served: 5, ends: 3)) == true)
    }

    @Test("a failure is told once, and whoever asks again has it tried again")
    func failure() {
        var recording = ServedRecording(isOn: true)
        let mark = ServedRecording.Mark(served: 3, ends: 0)
        #expect(recording.begin(mark) == true)
        #expect(recording.standing(of: 3) == .pending)
        recording.wait {}
        #expect(recording.finished(succeeded: false).count == 1)
        #expect(recording.begin(mark) == false, "not by itself")
        #expect(recording.standing(of: 3) == .failed)
        #expect(recording.standing(of: 3) == .pending)
        #expect(recording.begin(mark) == true)
        #expect(recording.finished(succeeded: true).count == 0)
        #expect(recording.standing(of: 3) == .recorded)
        // Another change is reason enough, too.
        #expect(recording.begin(.init(served: 4, ends: 0)) == true)
        _ = recording.finished(succeeded: false)
        #expect(recording.begin(.init(served: 5, ends: 0)) == true)
    }

    @Test("all who waited for a write hear that it failed, and cost no attempt each")
    func failureForAll() {
        var recording = ServedRecording(isOn: true)
        let mark = ServedRecording.Mark(served: 3, ends: 0)
        #expect(recording.begin(mark) == true)
        for _ in 0..<3 { recording.wait {} }
        #expect(recording.finished(succeeded: false).count == 3)
        for change in 1...3 as ClosedRange<UInt64> {
            #expect(recording.begin(mark) == false)
            #expect(recording.standing(of: change) == .failed)
        }
        #expect(recording.standing(of: 1) == .pending)
        #expect(recording.begin(mark) == true)
    }

    @Test("without a store everything counts as recorded")
    func off() {
        var recording = ServedRecording(isOn: false)
        #expect(recording.standing(of: 9) == .recorded)
        #expect(recording.begin(.init(served: 9, ends: 9)) == false)
    }

    // MARK: On the agent

    @Test("nothing is handed over before its process is on disk; other entries do not wait")
    func before() async throws {
        let store = GatedStore()
        let session = try EndingSession(
            [try self.entry("a"), try self.entry("b", revokes: false)], store: store)
        let stream = try session.listen()
        try session.sign()
        let view = try #require(stream.last)
        let (told, tell) = AsyncStream.makeStream(of: Void.self)
        let process = EndingProcess(7)
        #expect(
            try session.identities.hand(view, to: process) { tell.yield() } == .pending)
        await store.begun()
        #expect(store.saved == [ServedRecords(processes: [self.record(7, ["a"])])])
        #expect(try session.identities.hand(view, to: process) == .pending)
        #expect(
            try session.identities.heldJWTSVIDs(
                try selectors("unix:uid:1"), audience: ["x"], spiffeID: nil, for: process) == nil)
        store.finish()
        for await _ in told { break }
        #expect(try session.identities.hand(view, to: process) == .handed)
        #expect(store.saved.count == 1, "a call of a process that is known writes nothing")

        let plain = try EndingSession([try self.entry("b", revokes: false)], store: store)
        let other = try plain.listen()
        try plain.sign()
        #expect(
            try plain.identities.hand(try #require(other.last), to: EndingProcess(8)) == .handed)
        #expect(store.saved.count == 1)
    }

    @Test("a process that cannot be recorded is handed nothing, and may ask again")
    func unwritable() async throws {
        let store = GatedStore()
        let session = try EndingSession([try self.entry("a")], store: store)
        let stream = try session.listen()
        try session.sign()
        let view = try #require(stream.last)
        let (told, tell) = AsyncStream.makeStream(of: Void.self)
        var news = told.makeAsyncIterator()
        let process = EndingProcess(7)
        #expect(try session.identities.hand(view, to: process) { tell.yield() } == .pending)
        await store.begun()
        store.finish(self.diskFull)
        await news.next()
        let refusal = #expect(throws: WorkloadRefusal.self) {
            try session.identities.hand(view, to: process)
        }
        #expect(refusal?.code == .unavailable)
        #expect(try session.identities.hand(view, to: process) { tell.yield() } == .pending)
        await store.begun()
        store.finish()
        await news.next()
        #expect(try session.identities.hand(view, to: process) == .handed)
    }

    @Test("a call for a token waits until its process is on disk")
    func token() async throws {
        let store = GatedStore()
        let session = try EndingSession([try self.entry("a")], store: store)
        let wanted = try selectors("unix:uid:1")
        let identities = session.identities
        async let tokens = identities.jwtSVIDs(
            wanted, audience: ["x"], spiffeID: nil, for: EndingProcess(7))
        await store.begun()
        #expect(session.requests().jwt.isEmpty)
        store.finish()
        while try !session.answerTokens("h.p.s") { await Task.yield() }
        let count = try await tokens.count
        #expect(count == 1)
    }

    @Test("ends are recorded, and what the server has not answered yet")
    func ends() async throws {
        let store = GatedStore()
        let session = try EndingSession([try self.entry("a")], store: store)
        let stream = try session.listen()
        try session.sign()
        let process = EndingProcess(7)
        let (told, tell) = AsyncStream.makeStream(of: Void.self)
        _ = try session.identities.hand(try #require(stream.last), to: process) { tell.yield() }
        await store.begun()
        store.finish()
        for await _ in told { break }
        process.end()
        await store.begun()
        #expect(store.saved.last == ServedRecords(untold: ["a"]))
        store.finish()
        session.confirm(try #require(session.requests().ends.first).id)
        await store.begun()
        #expect(store.saved.last == ServedRecords())
        store.finish()
    }

    // MARK: Started again

    @Test(
        "who has ended meanwhile is told of before anything new is asked for; who lives is watched")
    func restored() throws {
        let store = GatedStore(
            .success(
                ServedRecords(
                    processes: [
                        self.record(1, ["a"]), self.record(2, ["a", "b"]),
                        self.record(3, ["c"], startTime: 9),
                    ], untold: ["d"])))
        let living = EndingProcess(1)
        let session = try EndingSession(
            try ["a", "b", "c", "d"].map { try self.entry($0) }, store: store
        ) { pid in
            switch pid {
            case 1: living
            // The number has been used again.
            case 3: EndingProcess(3)
            default: nil
            }
        }
        #expect(session.identities.servedProcessCount == 1 && living.watches == 1)
        let stream = try session.listen()
        let first = session.requests()
        #expect(first.ends.map(\.entry) == ["b", "c", "d"])
        #expect(first.x509.map(\.entryID) == ["a"])
        for (id, _) in first.ends { session.confirm(id) }
        let second = session.requests()
        #expect(second.ends.isEmpty && Set(second.x509.map(\.entryID)) == ["b", "c", "d"])
        living.end()
        #expect(session.requests().ends.map(\.entry) == ["a"])
        session.identities.unsubscribe(stream.subscription)
    }

    @Test("records that cannot be read: all entries with the option may have ended, and no others")
    func unreadable() throws {
        let store = GatedStore(.failure(AgentError(.state, "damaged")))
        let session = try EndingSession(
            [try self.entry("a"), try self.entry("b", revokes: false)], store: store)
        let stream = try session.listen()
        let first = session.requests()
        #expect(first.ends.map(\.entry) == ["a"])
        #expect(first.x509.map(\.entryID) == ["b"])
        session.confirm(try #require(first.ends.first).id)
        #expect(session.requests().x509.map(\.entryID) == ["a"])
        // Once.
        session.identities.receive(
            .entries(EntryChange(isSnapshot: true, upserted: [try self.entry("a")])))
        #expect(session.requests().ends.isEmpty)
        session.identities.unsubscribe(stream.subscription)
    }

    @Test("the first start has nothing to take up")
    func first() throws {
        let session = try EndingSession([try self.entry("a")], store: GatedStore())
        #expect(session.requests().ends.isEmpty && session.identities.servedProcessCount == 0)
    }
}
