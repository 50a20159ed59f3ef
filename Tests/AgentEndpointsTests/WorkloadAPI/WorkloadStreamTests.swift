import AgentCore
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import Testing

@testable import AgentEndpoints

/// A process that runs another program after it was attested.
private final class Changing: WorkloadProcess {
    let pid: Int32 = 4711
    let startTime: UInt64 = 1
    let uid: UInt32 = 1000
    let isAlive = true
    let program = NIOLockedValueBox<UInt64>(1)

    func isConnector(_ now: ProcessFingerprint) -> Bool { true }
    func watchEnd(_ action: @escaping @Sendable () -> Void) -> (any Sendable)? { nil }

    func fingerprint() -> ProcessFingerprint? {
        ProcessFingerprint(
            executable: .init(
                device: 1, inode: self.program.withLockedValue { $0 }, path: "/bin/true"),
            ids: Array(repeating: 1000, count: 8))
    }
}

@Suite("Streams of workloads", .timeLimit(.minutes(1)))
struct WorkloadStreamTests {
    @Test(
        "nothing is said to be served before the last look at the process",
        arguments: [false, true])
    func served(changes: Bool) async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        let process = Changing()
        let attested = try await agent.api.attestation.attest(process)
        let news = AsyncStream.makeStream(of: Void.self)
        var served: [String] = []
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await agent.sign() }
            let stream = WorkloadStream(
                .x509SVIDs, process, attested, isFresh: false, api: agent.api,
                served: { view in served += view.identities.map { $0.svid.spiffeID.string } },
                announce: { news.continuation.yield() })
            for await _ in news.stream { break }
            if changes { process.program.withLockedValue { $0 = 2 } }
            do throws(WorkloadRefusal) {
                let message = try stream.next()
                #expect(message != nil && !changes)
            } catch {
                #expect(changes && error.code == .unavailable)
            }
            stream.close()
            group.cancelAll()
        }
        #expect(served == (changes ? [] : ["spiffe://acme.test/a"]))
    }
}
