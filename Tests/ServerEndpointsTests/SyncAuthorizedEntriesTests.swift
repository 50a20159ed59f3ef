import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftProtobuf
import Testing

private typealias Entries = Spire_Api_Server_Entry_V1_Entry
private typealias Request = Spire_Api_Server_Entry_V1_SyncAuthorizedEntriesRequest
private typealias Response = Spire_Api_Server_Entry_V1_SyncAuthorizedEntriesResponse

@Suite(.timeLimit(.minutes(2))) struct SyncAuthorizedEntriesTests {
    /// Sends the requests one after the other, the next when the pages of the one before are complete.
    private static func exchange(
        _ client: Client, _ requests: [Request]
    ) async throws -> [[Response]] {
        let (turns, turn) = AsyncStream.makeStream(of: Request.self)
        return try await Entries.Client(wrapping: client).syncAuthorizedEntries { writer in
            for await request in turns { try await writer.write(request) }
        } onResponse: { response in
            var rest = requests[...]
            var answers: [[Response]] = []
            turn.yield(rest.popFirst() ?? .init())
            var pages: [Response] = []
            for try await page in response.messages {
                pages.append(page)
                if page.more { continue }
                answers.append(pages)
                pages = []
                if let next = rest.popFirst() { turn.yield(next) } else { turn.finish() }
            }
            return answers
        }
    }

    private static func fill(_ server: TestServer, _ count: Int, _ agent: TestIdentity) async throws
    {
        _ = try await server.plane.store.createEntries(
            try (0..<count).map { number in
                try .test("e\(10_000 + number)", "/w/\(number)", parent: agent.id.path)
            })
    }

    @Test(arguments: [0, 1, 500]) func `up to 500 entries come at once`(count: Int) async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            try await Self.fill(server, count, agent)
            let answers = try await server.tls(agent) { try await Self.exchange($0, [.init()]) }
            #expect(answers.count == 1 && answers[0].count == 1)
            #expect(answers[0][0].entries.count == count)
            #expect(answers[0][0].entryRevisions.isEmpty && !answers[0][0].more)
        }
    }

    @Test func `more come as revisions in pages, then as the entries asked for`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            let other = try await server.attest("t2")
            try await Self.fill(server, 1_203, agent)
            _ = try await server.plane.store.createEntries([
                .test("foreign", "/f", parent: other.id.path)
            ])
            let few = ["e10001", "none", "foreign", "e10000", "e10001"]
            let many = (0..<1_001).map { "e\(10_000 + $0)" }
            let answers = try await server.tls(agent) { client in
                try await Self.exchange(
                    client,
                    [
                        .with {
                            $0.outputMask = .with {
                                $0.revisionNumber = true
                                $0.spiffeID = true
                            }
                        },
                        .with { $0.ids = few }, .with { $0.ids = ["none"] },
                        .with { $0.ids = many },
                    ])
            }
            #expect(answers.count == 4)
            #expect(answers[0].map(\.entryRevisions.count) == [500, 500, 203])
            #expect(answers[0].map(\.more) == [true, true, false])
            let ids = answers[0].flatMap { $0.entryRevisions.map(\.id) }
            #expect(ids == (0..<1_203).map { "e\(10_000 + $0)" })
            #expect(answers[1].flatMap { $0.entries.map(\.id) } == ["e10000", "e10001"])
            #expect(answers[2].map(\.entries.count) == [0])
            #expect(answers[3].map(\.entries.count) == [500, 500, 1])
            let entry = answers[1][0].entries[0]
            #expect(entry.hasSpiffeID && !entry.hasParentID && entry.selectors.isEmpty)
        }
    }

    @Test func `a first request with IDs, or a mask without revision, is refused`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            try await server.tls(agent) { client in
                for request in [
                    Request.with { $0.ids = ["a"] },
                    Request.with { $0.outputMask = .with { $0.spiffeID = true } },
                ] {
                    let error = await #expect(throws: RPCError.self) {
                        try await Self.exchange(client, [request])
                    }
                    #expect(error?.code == .invalidArgument)
                }
            }
        }
    }

    @Test func `GetAuthorizedEntries gives the same set, masked`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            try await Self.fill(server, 3, agent)
            let answer = try await server.tls(agent) { client in
                try await Entries.Client(wrapping: client).getAuthorizedEntries(
                    .with { $0.outputMask = .with { $0.selectors = true } })
            }
            #expect(answer.entries.map(\.id) == ["e10000", "e10001", "e10002"])
            #expect(answer.entries.allSatisfy { !$0.hasSpiffeID && $0.selectors.count == 1 })
        }
    }
}
