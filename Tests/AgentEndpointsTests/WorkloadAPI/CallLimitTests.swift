import ControlPlaneProto
import GRPCCore
import SPIFFEGRPC
import Testing
import WorkloadAPIProto

@testable import AgentEndpoints

@Suite("Limits of calls", .timeLimit(.minutes(1)))
struct CallLimitTests {
    private static let header: Metadata = ["workload.spiffe.io": "true"]

    @Test(
        "streams count together, whatever serves them; one too many is told so, and there is room when one ends"
    )
    func calls() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        try await agent.run(limits: .init(maxCalls: 2)) { client, connection in
            let health = Grpc_Health_V1_Health.Client(wrapping: connection)
            let code = try await client.fetchX509Bundles(.init(), metadata: Self.header) { first in
                var messages = first.messages.makeAsyncIterator()
                _ = try await messages.next()
                return try await health.watch(.init()) { second -> RPCError.Code? in
                    var states = second.messages.makeAsyncIterator()
                    _ = try await states.next()
                    do {
                        _ = try await health.check(.init())
                        return nil
                    } catch let error as RPCError {
                        return error.code
                    }
                }
            }
            #expect(code == .resourceExhausted)
            // The ends of the two may still be on their way.
            while true {
                do {
                    #expect(try await health.check(.init()).status == .serving)
                    return
                } catch let error as RPCError where error.code == .resourceExhausted {
                    await Task.yield()
                }
            }
        }
    }
}
