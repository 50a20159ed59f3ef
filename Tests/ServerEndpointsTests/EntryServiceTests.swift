import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftProtobuf
import Testing

private typealias Entries = Spire_Api_Server_Entry_V1_Entry

@Suite(.timeLimit(.minutes(2))) struct EntryServiceTests {
    private static func message(
        _ id: String, _ path: String, parent: String = "/spire/agent/x/1",
        _ selectors: [(String, String)] = [("unix", "uid:1")]
    ) -> Spire_Api_Types_Entry {
        .with {
            $0.id = id
            $0.spiffeID = Spire_Api_Types_SPIFFEID(path)
            $0.parentID = Spire_Api_Types_SPIFFEID(parent)
            $0.selectors = selectors.map { Spire_Api_Types_Selector($0.0, $0.1) }
        }
    }

    private static func withClient(
        _ body:
            @escaping @Sendable (Entries.Client<ClientTransportInUse>, TestServer) async throws ->
            Void
    ) async throws {
        try await TestServer.with { server in
            try await server.local { try await body(Entries.Client(wrapping: $0), server) }
        }
    }

    @Test func `a batch is judged entry by entry, and a similar entry comes back`() async throws {
        try await Self.withClient { client, _ in
            let response = try await client.batchCreateEntry(
                .with {
                    $0.entries = [
                        Self.message("a", "/a"),
                        Self.message("b", "/spire/reserved"),
                        Self.message("c", "/a"),
                        .with { $0.id = "d" },
                        Self.message("e", "/e", [("unix", "")]),
                        Self.message("", "/f"),
                    ]
                })
            #expect(response.results.map(\.status.code) == [0, 3, 6, 3, 3, 0])
            let made = response.results[0].entry
            #expect(made.id == "a" && made.revisionNumber == 0 && made.createdAt > 0)
            #expect(response.results[2].entry == made)
            #expect(response.results[2].status.message == "similar entry already exists")
            #expect(response.results[5].entry.id.count == 36)
            #expect(!response.results[1].hasEntry)
        }
    }

    @Test func `selectors are a set, whatever order and however often they come`() async throws {
        try await Self.withClient { client, _ in
            let response = try await client.batchCreateEntry(
                .with {
                    $0.entries = [
                        Self.message("a", "/a", [("b", "2"), ("a", "1"), ("b", "2")]),
                        Self.message("b", "/a", [("a", "1"), ("b", "2")]),
                    ]
                })
            #expect(response.results.map(\.status.code) == [0, 6])
            #expect(response.results[0].entry.selectors.map(\.type) == ["a", "b"])
        }
    }

    @Test func `federating needs the bundle of the other trust domain`() async throws {
        try await Self.withClient { client, server in
            var entry = Self.message("a", "/a")
            entry.federatesWith = ["spiffe://b.test"]
            let wanted = entry
            let refused = try await client.batchCreateEntry(.with { $0.entries = [wanted] })
            #expect(refused.results.map(\.status.code) == [3])
            _ = try await server.plane.store.updateBundle(try TrustDomain("b.test")) {
                $0.refreshHint = 1
            }
            let made = try await client.batchCreateEntry(.with { $0.entries = [wanted] })
            #expect(made.results.map(\.status.code) == [0])
            #expect(made.results[0].entry.federatesWith == ["b.test"])
        }
    }

    @Test
    func `revoke_on_exit: set, kept by who does not know it, under the mask, and switched off`()
        async throws
    {
        try await Self.withClient { client, server in
            var message = Self.message("a", "/a")
            message.additionalAttributes = .with { $0.revokeOnExit = true }
            let wanted = message
            let made = try await client.batchCreateEntry(.with { $0.entries = [wanted] })
            #expect(made.results.map(\.status.code) == [0])
            #expect(made.results[0].entry.additionalAttributes.revokeOnExit)
            func update(
                _ mask: Spire_Api_Types_EntryMask?,
                _ attributes: Spire_Api_Types_Entry.AdditionalAttributes?
            ) async throws -> Bool? {
                var message = Self.message("a", "/a")
                if let attributes { message.additionalAttributes = attributes }
                let wanted = message
                let response = try await client.batchUpdateEntry(
                    .with {
                        $0.entries = [wanted]
                        if let mask { $0.inputMask = mask }
                    })
                #expect(response.results.map(\.status.code) == [0])
                return server.plane.entries.entry(id: "a")?.revokesOnExit
            }
            // A stock client's update, whole and under masks.
            #expect(try await update(nil, nil) == true)
            #expect(try await update(nil, .with { $0.jwtSvidIncludeJti = true }) == true)
            #expect(try await update(.with { $0.additionalAttributes = true }, nil) == true)
            #expect(
                try await update(.with { $0.hint = true }, .with { $0.revokeOnExit = false })
                    == true)
            #expect(
                try await update(
                    .with { $0.additionalAttributes = true }, .with { $0.revokeOnExit = false })
                    == false)
            #expect(try await update(nil, nil) == false)
            let shown = try await client.getEntry(.with { $0.id = "a" })
            #expect(!shown.hasAdditionalAttributes)
            #expect(try await update(nil, .with { $0.revokeOnExit = true }) == true)
            let masked = try await client.getEntry(
                .with {
                    $0.id = "a"
                    $0.outputMask = .with { $0.additionalAttributes = true }
                })
            #expect(masked.additionalAttributes.revokeOnExit)
            #expect(!masked.additionalAttributes.jwtSvidIncludeJti)
        }
    }

    @Test func `an output mask leaves out what it does not name`() async throws {
        try await Self.withClient { client, _ in
            var entry = Self.message("a", "/a")
            entry.hint = "h"
            entry.additionalAttributes = .with { $0.jwtSvidIncludeJti = true }
            let wanted = entry
            _ = try await client.batchCreateEntry(.with { $0.entries = [wanted] })
            let masked = try await client.getEntry(
                .with {
                    $0.id = "a"
                    $0.outputMask = .with { $0.hint = true }
                })
            #expect(
                masked
                    == .with {
                        $0.id = "a"
                        $0.hint = "h"
                    })
            let empty = try await client.getEntry(
                .with {
                    $0.id = "a"
                    $0.outputMask = .init()
                })
            #expect(empty == .with { $0.id = "a" })
            let whole = try await client.getEntry(.with { $0.id = "a" })
            #expect(whole.additionalAttributes.jwtSvidIncludeJti)
            #expect(whole.parentID == Spire_Api_Types_SPIFFEID("/spire/agent/x/1"))
            let missing = await #expect(throws: RPCError.self) {
                try await client.getEntry(.with { $0.id = "none" })
            }
            #expect(missing?.code == .notFound)
            let unnamed = await #expect(throws: RPCError.self) {
                try await client.getEntry(.init())
            }
            #expect(unnamed?.code == .invalidArgument)
        }
    }

    @Test func `an input mask changes only what it names; without one all is replaced`()
        async throws
    {
        try await Self.withClient { client, _ in
            var entry = Self.message("a", "/a")
            entry.hint = "h"
            entry.admin = true
            entry.x509SvidTtl = 60
            let wanted = entry
            _ = try await client.batchCreateEntry(
                .with { $0.entries = [wanted, Self.message("b", "/b")] })
            let masked = try await client.batchUpdateEntry(
                .with {
                    $0.entries = [
                        .with {
                            $0.id = "a"
                            $0.hint = "new"
                            $0.x509SvidTtl = 99
                        }
                    ]
                    $0.inputMask = .with { $0.hint = true }
                })
            #expect(masked.results.map(\.status.code) == [0])
            let after = masked.results[0].entry
            #expect(after.hint == "new" && after.x509SvidTtl == 60 && after.admin)
            #expect(after.revisionNumber == 1 && after.spiffeID.path == "/a")
            let whole = try await client.batchUpdateEntry(
                .with { $0.entries = [Self.message("a", "/c")] })
            #expect(whole.results[0].entry.hint.isEmpty && !whole.results[0].entry.admin)
            #expect(whole.results[0].entry.revisionNumber == 2)
            let failed = try await client.batchUpdateEntry(
                .with {
                    $0.entries = [
                        Self.message("none", "/n"), Self.message("a", "/b"),
                        Self.message("a", "/spire"),
                        .with { $0.id = "a" },
                    ]
                })
            #expect(failed.results.map(\.status.code) == [5, 6, 3, 3])
        }
    }

    @Test func `deleting answers for each ID`() async throws {
        try await Self.withClient { client, _ in
            _ = try await client.batchCreateEntry(.with { $0.entries = [Self.message("a", "/a")] })
            let response = try await client.batchDeleteEntry(
                .with { $0.ids = ["a", "a", "none", ""] })
            #expect(response.results.map(\.status.code) == [0, 5, 5, 3])
            #expect(response.results.map(\.id) == ["a", "a", "none", ""])
        }
    }

    private static func list(
        _ client: Entries.Client<ClientTransportInUse>,
        _ change: @escaping (inout Spire_Api_Server_Entry_V1_ListEntriesRequest.Filter) -> Void
    ) async throws -> [String] {
        var filter = Spire_Api_Server_Entry_V1_ListEntriesRequest.Filter()
        change(&filter)
        let wanted = filter
        let response = try await client.listEntries(.with { $0.filter = wanted })
        return response.entries.map(\.id).sorted()
    }

    @Test func `filters`() async throws {
        try await Self.withClient { client, _ in
            var hinted = Self.message(
                "d", "/d", parent: "/p", [("a", "1"), ("b", "2"), ("c", "3")])
            hinted.hint = "h"
            hinted.downstream = true
            let last = hinted
            _ = try await client.batchCreateEntry(
                .with {
                    $0.entries = [
                        Self.message("a", "/a", [("a", "1")]),
                        Self.message("b", "/a", [("a", "1"), ("b", "2")]),
                        Self.message("c", "/c", parent: "/p", [("c", "3")]), last,
                    ]
                })
            func selectors(_ match: Spire_Api_Types_SelectorMatch.MatchBehavior) async throws
                -> [String]
            {
                try await Self.list(client) {
                    $0.bySelectors = .with {
                        $0.selectors = [
                            Spire_Api_Types_Selector("a", "1"), Spire_Api_Types_Selector("b", "2"),
                        ]
                        $0.match = match
                    }
                }
            }
            #expect(try await Self.list(client) { _ in } == ["a", "b", "c", "d"])
            #expect(try await selectors(.matchExact) == ["b"])
            #expect(try await selectors(.matchSubset) == ["a", "b"])
            #expect(try await selectors(.matchSuperset) == ["b", "d"])
            #expect(try await selectors(.matchAny) == ["a", "b", "d"])
            let byID = try await Self.list(client) {
                $0.bySpiffeID = Spire_Api_Types_SPIFFEID("/a")
            }
            #expect(byID == ["a", "b"])
            let byParent = try await Self.list(client) {
                $0.byParentID = Spire_Api_Types_SPIFFEID("/p")
            }
            #expect(byParent == ["c", "d"])
            let byBoth = try await Self.list(client) {
                $0.byParentID = Spire_Api_Types_SPIFFEID("/p")
                $0.bySpiffeID = Spire_Api_Types_SPIFFEID("/d")
            }
            #expect(byBoth == ["d"])
            let byHint = try await Self.list(client) { $0.byHint = .init("h") }
            #expect(byHint == ["d"])
            let downstream = try await Self.list(client) { $0.byDownstream = .init(true) }
            #expect(downstream == ["d"])
            let elsewhere = try await Self.list(client) {
                $0.bySpiffeID = Spire_Api_Types_SPIFFEID("/a", in: "other.test")
            }
            #expect(elsewhere.isEmpty)
            let count = try await client.countEntries(
                .with { $0.filter.byParentID = Spire_Api_Types_SPIFFEID("/p") })
            #expect(count.count == 2)
            #expect(try await client.countEntries(.init()).count == 4)
            let error = await #expect(throws: RPCError.self) {
                try await Self.list(client) { $0.bySelectors = .init() }
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test(arguments: [1, 3, 10, 11, 1_000] as [Int32])
    func `pages give every entry once, also with a filter`(size: Int32) async throws {
        try await Self.withClient { client, server in
            _ = try await server.plane.store.createEntries(
                try (0..<20).map { number in
                    try .test(
                        "e\(number)", "/\(number)", parent: number % 2 == 0 ? "/even" : "/odd")
                })
            for (parent, wanted) in [(nil, 20), ("/even", 10)] as [(String?, Int)] {
                var seen: [String] = []
                var token = ""
                repeat {
                    let start = token
                    let page = try await client.listEntries(
                        .with {
                            $0.pageSize = size
                            $0.pageToken = start
                            if let parent {
                                $0.filter.byParentID = Spire_Api_Types_SPIFFEID(parent)
                            }
                        })
                    #expect(page.entries.count <= Int(size))
                    seen.append(contentsOf: page.entries.map(\.id))
                    token = page.nextPageToken
                } while !token.isEmpty && seen.count < 100
                #expect(seen.count == wanted && Set(seen).count == wanted)
            }
        }
    }

    @Test(arguments: ["x", "-1", "99999999999999999999", " 1"])
    func `a page token that the server did not give out is refused`(token: String) async throws {
        try await Self.withClient { client, _ in
            let error = await #expect(throws: RPCError.self) {
                try await client.listEntries(
                    .with {
                        $0.pageSize = 1
                        $0.pageToken = token
                    })
            }
            #expect(error?.code == .invalidArgument)
        }
    }
}
