import AgentCore
import Foundation
import GRPCCore
import SPIFFE
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import AgentEndpoints

private let security: Metadata = ["workload.spiffe.io": "true"]

@Suite("Custody on the Workload API's socket", .timeLimit(.minutes(1)))
struct CustodyServiceTests {
    private typealias Client = Cygnet_Workload_V1_Custody.Client
    private typealias Request = Cygnet_Workload_V1_RecordCustodyRequest

    private func request(
        _ svid: SPIFFE.X509SVID, action: String = "close-valve", peer: SPIFFE.X509SVID? = nil
    ) throws -> (Request, SignedCustodyStatement) {
        let signed = try CustodyStatement(action: action, transaction: "t", peer: peer?.id)
            .signed(by: svid)
        let receipt = try peer.map { try CustodyReceipt(for: signed, signedBy: $0) }
        let request = Request.with {
            $0.statement = signed.token
            $0.receipt = receipt?.token ?? ""
        }
        return (request, signed)
    }

    @Test(
        "A statement of the caller's own identity is handed on and acknowledged; the server's refusal is told"
    )
    func records() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        let (request, signed) = try self.request(
            try agent.svid("/a"), peer: try agent.svid("/peer"))
        let (refused, _) = try self.request(try agent.svid("/a"), action: "refuse")
        try await agent.run { _, raw in
            let client = Client(wrapping: raw)
            let answer = try await client.record(request, metadata: security)
            #expect(answer.statementDigest == Data(signed.digest))
            #expect(
                await code { _ = try await client.record(refused, metadata: security) }
                    == .permissionDenied)
        }
    }

    @Test("Without the header, for somebody else, and when it does not hold, nothing is handed on")
    func refuses() async throws {
        let agent = try TestAgent()
        agent.synchronise([
            try TestAgent.entry("a"), try TestAgent.entry("b", selector: "unix:uid:other"),
        ])
        let (good, _) = try self.request(try agent.svid("/a"))
        let (foreign, _) = try self.request(try agent.svid("/b"))
        // Another authority with the same names.
        let (forged, _) = try self.request(try TestAgent().svid("/a"))
        var mixed = good
        mixed.receipt = try self.request(try agent.svid("/a"), peer: try agent.svid("/p")).0.receipt
        var cut = good
        cut.statement.removeLast(10)
        let rows: [(Request, RPCError.Code)] = [
            (foreign, .permissionDenied), (forged, .invalidArgument), (mixed, .invalidArgument),
            (cut, .invalidArgument), (Request(), .invalidArgument),
        ]
        try await agent.run { _, raw in
            let client = Client(wrapping: raw)
            #expect(await code { _ = try await client.record(good) } == .invalidArgument)
            for (request, wanted) in rows {
                #expect(
                    await code { _ = try await client.record(request, metadata: security) }
                        == wanted)
            }
        }
    }

    @Test("A server that is polled keeps no ledger; one that is away cannot be asked")
    func noLedger() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        let (request, _) = try self.request(try agent.svid("/a"))
        try await agent.run(signs: false) { _, raw in
            let client = Client(wrapping: raw)
            #expect(
                await code { _ = try await client.record(request, metadata: security) }
                    == .unavailable)
            _ = agent.identities.begin(isPush: false)
            #expect(
                await code { _ = try await client.record(request, metadata: security) }
                    == .unimplemented)
        }
    }

    @Test("Who sends statements that do not hold is refused before they are looked at")
    func forgeries() async throws {
        // Nothing is won back meanwhile.
        let start = Date()
        let agent = try TestAgent(now: { start })
        agent.synchronise([try TestAgent.entry("a")])
        let (good, _) = try self.request(try agent.svid("/a"))
        var cut = good
        cut.statement.removeLast(10)
        let forged = cut
        try await agent.run { _, raw in
            let client = Client(wrapping: raw)
            var codes: [RPCError.Code?] = []
            for _ in 0..<200 where codes.last != .resourceExhausted {
                codes.append(
                    await code { _ = try await client.record(forged, metadata: security) })
            }
            #expect(codes.last == .resourceExhausted && codes.count == 101)
            #expect(codes.dropLast().allSatisfy { $0 == .invalidArgument })
        }
    }

    @Test("One identity has a hundred statements at once, and others are not held up by it")
    func limit() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a"), try TestAgent.entry("b")])
        let a = try SignedCustodyStatement(self.request(try agent.svid("/a")).0.statement)
        let b = try SignedCustodyStatement(self.request(try agent.svid("/b")).0.statement)
        try await agent.run { _, raw in
            // The session has begun when the first is answered.
            let first = Request.with { $0.statement = b.token }
            while await code({
                _ = try await Client(wrapping: raw).record(first, metadata: security)
            }) != nil {}
            var refused = 0
            // More than a slow machine could win back meanwhile.
            for _ in 0..<100_000 where refused == 0 {
                do throws(WorkloadRefusal) {
                    try await agent.identities.record(a, receipt: nil)
                } catch {
                    #expect(error.code == .unavailable)
                    refused += 1
                }
            }
            #expect(refused == 1)
            try await agent.identities.record(b, receipt: nil)
        }
    }
}
