import AgentCore
import Foundation
import GRPCCore
import PluginAPI
import SPIFFE
import SPIFFEGRPC
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import AgentEndpoints

private let security: Metadata = ["workload.spiffe.io": "true"]

@Suite("Processes that are handed SVIDs which end with them", .timeLimit(.minutes(1)))
struct ProcessEndTests {
    /// Fetches one SVID of the kind.
    private func fetch(_ kind: String, _ client: TestAgent.Client) async throws -> Int {
        switch kind {
        case "x509":
            return try await client.fetchX509SVID(.init(), metadata: security) {
                for try await message in $0.messages { return message.svids.count }
                return 0
            }
        case "jwt":
            let response = try await client.fetchJWTSVID(
                .with { $0.audience = ["x"] }, metadata: security)
            return response.svids.count
        default:
            return try await client.fetchWITSVID(.init(), metadata: security) {
                for try await message in $0.messages { return message.svids.count }
                return 0
            }
        }
    }

    @Test(
        "whoever fetches over the socket is watched, whatever it fetches, if the entry asks for it",
        arguments: ["x509", "jwt", "wit"], [true, false])
    func socket(kind: String, revokes: Bool) async throws {
        let agent = try TestAgent(offersWITSVIDs: true)
        var entry = try TestAgent.entry("a")
        entry.revokesOnExit = revokes
        agent.synchronise([entry])
        try await agent.run { client, _ in
            // Signed, then from what is held.
            for _ in 0..<2 {
                let count = try await self.fetch(kind, client)
                #expect(count == 1)
                #expect(agent.identities.servedProcessCount == (revokes ? 1 : 0))
            }
        }
    }

    @Test(
        "whoever fetches over the socket is on disk when it has the answer",
        arguments: ["x509", "jwt", "wit"])
    func recorded(kind: String) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = ServedProcessFile(directory: folder.path)
        let agent = try TestAgent(offersWITSVIDs: true, servedStore: file)
        var entry = try TestAgent.entry("a")
        entry.revokesOnExit = true
        agent.synchronise([entry])
        try await agent.run { client, _ in
            let count = try await self.fetch(kind, client)
            #expect(count == 1)
            let records = try file.load()
            #expect(records?.processes.map(\.pid) == [getpid()])
            #expect(records?.processes.first?.entryIDs == ["a"])
            #expect(records?.isOfThisBoot == true)
        }
    }

    @Test("bundles and validations leave nobody to be watched")
    func bundles() async throws {
        let agent = try TestAgent()
        var entry = try TestAgent.entry("a")
        entry.revokesOnExit = true
        agent.synchronise([entry])
        try await agent.run { client, _ in
            let count = try await client.fetchX509Bundles(.init(), metadata: security) {
                for try await message in $0.messages { return message.bundles.count }
                return 0
            }
            #expect(count == 1 && agent.identities.servedProcessCount == 0)
        }
    }

    @Test("the end of a process is told when everything but the watch has been let go of")
    func end() async throws {
        let child = try Child()
        let processes = ReferencedProcesses()
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let watch = try ReferencedWorkload(processes.process(child.pid)).watchEnd {
            continuation.yield()
        }
        #expect(watch != nil && processes.count == 1)
        child.end()
        for await _ in stream { break }
        withExtendedLifetime(watch) {}
    }

    @Test("a process that has ended before it is watched is told of at once")
    func endedBefore() async throws {
        let child = try Child()
        let processes = ReferencedProcesses()
        let workload = try ReferencedWorkload(processes.process(child.pid))
        let (first, firstEnd) = AsyncStream.makeStream(of: Void.self)
        _ = workload.process.whenEnded { firstEnd.yield() }
        child.end()
        for await _ in first { break }
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        #expect(workload.watchEnd { continuation.yield() } != nil)
        for await _ in stream { break }
    }

    @Test(
        "a stream of a broker counts the workload, and the end of that has the agent tell the server"
    )
    func broker() async throws {
        let agent = try TestAgent()
        var entry = try TestAgent.entry("a")
        entry.revokesOnExit = true
        agent.synchronise([entry])
        let child = try Child()
        let workload = try ReferencedWorkload(ReferencedProcesses().process(child.pid))
        let attested = try await agent.api.attestation.attest(workload)
        let news = AsyncStream.makeStream(of: Void.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await agent.sign() }
            let stream = WorkloadStream(
                .x509SVIDs, workload, attested, isFresh: false, api: agent.api,
                announce: { news.continuation.yield() })
            for await _ in news.stream { break }
            let message = try stream.next()
            #expect(message != nil)
            #expect(agent.identities.servedProcessCount == 1)
            stream.close()
            #expect(agent.identities.counts.x509SVIDs == 1)
            child.end()
            while agent.identities.servedProcessCount > 0 { await Task.yield() }
            #expect(agent.identities.counts.x509SVIDs == 0)
            group.cancelAll()
        }
    }
}
