import SPIFFE
import Testing
import Transparency

@Suite("What leaves are found by")
struct LeafTermTests {
    private static func leaf(_ type: String, _ members: [String: JSONValue]) throws -> Leaf {
        let bytes = try Leaf(
            time: LeafTime(seconds: 1_000), event: .other(type: type, members: members)
        ).encode()
        return try Leaf(parsing: bytes)
    }

    @Test("a leaf has the terms of its members, and an entry's leaf that of the entry")
    func terms() throws {
        let leaf = try Self.leaf(
            "some.thing",
            [
                "serial": .string("ab"), "jti": .string("j"), "spiffe_id": .string("spiffe://a/b"),
                "node": .string("n"), "subject": .string("no entry"), "caller": .string("c"),
                "txn": .int(7),
            ])
        #expect(
            LeafTerm.terms(of: leaf) == [
                LeafTerm(.serial, "ab"), LeafTerm(.jti, "j"), LeafTerm(.spiffeID, "spiffe://a/b"),
                LeafTerm(.node, "n"),
            ])
        let entry = try Self.leaf("entry.deleted", ["subject": .string("e1")])
        #expect(LeafTerm.terms(of: entry) == [LeafTerm(.entryID, "e1")])
        let revocation = try Self.leaf("revocation.x", ["target": .string("spiffe://a/b")])
        #expect(LeafTerm.terms(of: revocation) == [LeafTerm(.spiffeID, "spiffe://a/b")])
    }

    @Test("whatever matches a filter has the filter's term")
    func filters() throws {
        let members: [String: JSONValue] = [
            "serial": .string("ab"), "jti": .string("j"), "spiffe_id": .string("spiffe://a/b"),
            "node": .string("n"), "entry_id": .string("e"), "txn": .string("t"),
            "caller": .string("c"),
        ]
        let leaf = try Self.leaf("some.thing", members)
        let changes: [(LeafTerm?, (inout LeafFilter) -> Void)] = [
            (LeafTerm(.serial, "ab"), { $0.serial = "00:AB" }),
            (LeafTerm(.jti, "j"), { $0.jti = "j" }),
            (LeafTerm(.spiffeID, "spiffe://a/b"), { $0.spiffeID = "spiffe://a/b" }),
            (LeafTerm(.node, "n"), { $0.node = "n" }),
            (LeafTerm(.entryID, "e"), { $0.entryID = "e" }),
            (LeafTerm(.transaction, "t"), { $0.transaction = "t" }),
            (nil, { $0.caller = "c" }), (nil, { $0.type = "some" }), (nil, { _ in }),
        ]
        for (term, change) in changes {
            var filter = LeafFilter()
            change(&filter)
            #expect(filter.matches(leaf))
            #expect(filter.term == term)
            if let term { #expect(LeafTerm.terms(of: leaf).contains(term)) }
        }
        var both = LeafFilter()
        both.node = "n"
        both.serial = "ab"
        #expect(both.term == LeafTerm(.serial, "ab"), "the most telling")
    }
}
