import NIOConcurrencyHelpers
import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

/// Waiting for connected agents; the bound of an hour is longer than the suite may take, so that only events end a wait.
@Suite(.timeLimit(.minutes(2))) struct ConnectedAgentsTests {
    private let directory: Directory
    private let agents: ConnectedAgents

    init() throws {
        self.directory = Directory(trustDomain: try TrustDomain("acme.test"))
        self.agents = ConnectedAgents(
            directory: self.directory, bound: .seconds(3_600), logger: TestPlane.logger)
    }

    private func open(_ number: Int, authority: String? = nil) throws -> SyncSession {
        self.directory.openSession(
            agent: try SPIFFEID("spiffe://acme.test/spire/agent/x/\(number)"), knownDigest: [],
            x509AuthorityID: authority)
    }

    /// Starts a wait and returns once it looks for events.
    private func begin(
        _ body: @escaping @Sendable () async -> Void
    ) async -> (task: Task<Void, Never>, isOver: NIOLockedValueBox<Bool>) {
        let isOver = NIOLockedValueBox(false)
        let task = Task {
            await body()
            isOver.withLockedValue { $0 = true }
        }
        while self.directory.sessionEvents.count == 0 { await Task.yield() }
        return (task, isOver)
    }

    @Test func `without agents nothing is waited for`() async {
        await self.agents.awaitBundle(5)
        await self.agents.awaitReplacement(5, x509AuthorityID: "a1")
        #expect(self.directory.sessionEvents.count == 0)
    }

    @Test func `agents that have the bundle, or a later one, are not waited for`() async throws {
        try self.open(1).confirm(bundle: 5, isReplaced: false)
        try self.open(2).confirm(bundle: 6, isReplaced: false)
        await self.agents.awaitBundle(5)
    }

    @Test func `the last confirmation ends the wait`() async throws {
        let sessions = try (1...3).map { try self.open($0) }
        let agents = self.agents
        let (task, isOver) = await self.begin { await agents.awaitBundle(5) }
        sessions[0].confirm(bundle: 5, isReplaced: false)
        sessions[1].confirm(bundle: 4, isReplaced: false)
        sessions[2].confirm(bundle: 9, isReplaced: true)
        for _ in 0..<100 { await Task.yield() }
        let isEarly = isOver.withLockedValue { $0 }
        #expect(!isEarly)
        sessions[1].confirm(bundle: 5, isReplaced: false)
        await task.value
        #expect(sessions.allSatisfy { !$0.hasEnded })
        #expect(self.directory.sessionEvents.count == 0, "nobody is told any more")
    }

    @Test func `a session that ends is not waited for, and one that begins is`() async throws {
        let first = try self.open(1)
        let agents = self.agents
        let (task, isOver) = await self.begin { await agents.awaitBundle(5) }
        let second = try self.open(2)
        self.directory.closeSession(first)
        for _ in 0..<100 { await Task.yield() }
        let isEarly = isOver.withLockedValue { $0 }
        #expect(!isEarly)
        second.confirm(bundle: 5, isReplaced: false)
        await task.value
        #expect(!second.hasEnded)
    }

    @Test func `who has not confirmed in time is disconnected, and nobody else`() async throws {
        let good = try self.open(1)
        let silent = try self.open(2)
        good.confirm(bundle: 5, isReplaced: false)
        await ConnectedAgents(
            directory: self.directory, bound: .milliseconds(1), logger: TestPlane.logger
        ).awaitBundle(5)
        #expect(!good.hasEnded && silent.hasEnded)
        let error = #expect(throws: ServerError.self) { try silent.requireOpen() }
        #expect(error?.message.contains("not confirmed") == true)
    }

    @Test func `a replacement is complete when the agent is back under another authority`()
        async throws
    {
        let old = try self.open(1, authority: "a1")
        let agents = self.agents
        let (task, isOver) = await self.begin {
            await agents.awaitReplacement(5, x509AuthorityID: "a1")
        }
        // All of its workloads' SVIDs are new, its own is not.
        old.confirm(bundle: 5, isReplaced: true)
        self.directory.closeSession(old)
        for _ in 0..<100 { await Task.yield() }
        let isGoneOver = isOver.withLockedValue { $0 }
        #expect(!isGoneOver, "gone is not replaced")
        let new = try self.open(1, authority: "a2")
        new.confirm(bundle: 5, isReplaced: false)
        for _ in 0..<100 { await Task.yield() }
        let isEarly = isOver.withLockedValue { $0 }
        #expect(!isEarly)
        new.confirm(bundle: 5, isReplaced: true)
        await task.value
    }

    @Test func `an agent that replaces nothing in time is left as it is`() async throws {
        let session = try self.open(1, authority: "a1")
        await ConnectedAgents(
            directory: self.directory, bound: .milliseconds(1), logger: TestPlane.logger
        ).awaitReplacement(5, x509AuthorityID: "a1")
        #expect(!session.hasEnded)
    }

    @Test func `a wait that is cancelled ends`() async throws {
        let session = try self.open(1, authority: "a1")
        let agents = self.agents
        let (task, _) = await self.begin {
            await agents.awaitReplacement(5, x509AuthorityID: "a1")
        }
        task.cancel()
        await task.value
        #expect(!session.hasEnded && self.directory.sessionEvents.count == 0)
    }

    @Test func `many agents that confirm at once are all counted`() async throws {
        let sessions = try (1...200).map { try self.open($0) }
        let agents = self.agents
        let (task, _) = await self.begin { await agents.awaitBundle(5) }
        await withTaskGroup(of: Void.self) { group in
            for session in sessions {
                group.addTask { session.confirm(bundle: 5, isReplaced: false) }
            }
        }
        await task.value
        #expect(sessions.allSatisfy { !$0.hasEnded })
    }
}
