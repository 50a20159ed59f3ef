import SPIFFE
import Testing

@testable import AgentCore

@Suite("Entry set")
struct EntrySetTests {
    @Test("an entry matches when all its selectors are attested")
    func subset() throws {
        var set = EntrySet()
        _ = set.apply(
            EntryChange(upserted: [
                try .make("a", ["unix:uid:1"]), try .make("b", ["unix:uid:1", "unix:gid:2"]),
                try .make("c", ["unix:uid:1", "unix:gid:3"]),
            ]))
        let found = set.matches(try selectors("unix:uid:1", "unix:gid:2", "unix:user:x"))
        #expect(found.map(\.id) == ["a", "b"])
        #expect(set.matches(try selectors("unix:gid:2")).isEmpty)
    }

    @Test("WAPI-47: identities come oldest first, then by ID")
    func order() throws {
        var set = EntrySet()
        _ = set.apply(
            EntryChange(upserted: [
                try .make("z", ["unix:uid:1"], createdAt: 5),
                try .make("b", ["unix:uid:1"], createdAt: 7),
                try .make("a", ["unix:uid:1"], createdAt: 7),
            ]))
        #expect(set.matches(try selectors("unix:uid:1")).map(\.id) == ["z", "a", "b"])
    }

    @Test("an entry without selectors matches nothing")
    func noSelectors() throws {
        var set = EntrySet()
        _ = set.apply(EntryChange(upserted: [try .make("a", [])]))
        #expect(set.count == 0)
    }

    @Test("a snapshot replaces everything and says what is different")
    func snapshot() throws {
        var set = EntrySet()
        _ = set.apply(
            EntryChange(upserted: [try .make("a", ["unix:uid:1"]), try .make("b", ["unix:uid:2"])]))
        let difference = set.apply(
            EntryChange(
                isSnapshot: true,
                upserted: [try .make("b", ["unix:uid:2"]), try .make("c", ["unix:uid:3"])]))
        #expect(difference.removed.map(\.id) == ["a"])
        #expect(difference.upserted.map(\.new.id) == ["c"])
        #expect(set.matches(try selectors("unix:uid:1")).isEmpty)
    }

    @Test("the digest does not depend on order and returns to zero")
    func digest() throws {
        let a = try AuthorizedEntry.make("a", ["unix:uid:1"], revision: 3, createdAt: 9)
        let b = try AuthorizedEntry.make("b", ["unix:uid:2"])
        var first = EntrySet()
        _ = first.apply(EntryChange(upserted: [a, b]))
        var second = EntrySet()
        _ = second.apply(EntryChange(upserted: [b]))
        _ = second.apply(EntryChange(upserted: [a]))
        #expect(first.digest == second.digest)
        #expect(first.digest != EntryDigest())
        #expect(EntryDigest(bytes: first.digest.bytes) == first.digest)
        _ = first.apply(EntryChange(removedIDs: ["a", "b", "c"]))
        #expect(first.digest.bytes == [UInt8](repeating: 0, count: 16))
    }

    @Test("the digest is that of sync.proto")
    func digestVector() throws {
        // First 16 bytes of SHA-256("e-1\n2\n1700000000").
        var digest = EntryDigest()
        digest.toggle(try .make("e-1", ["unix:uid:1"], revision: 2, createdAt: 1_700_000_000))
        let text = digest.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(text == "26bcd66dfb6ed9493513028319647bfc")
    }

    @Test("the nearest entry is the one that lacks the fewest selectors")
    func nearest() throws {
        var set = EntrySet()
        _ = set.apply(
            EntryChange(upserted: [
                try .make("far", ["unix:uid:1", "unix:gid:8", "unix:user:q"]),
                try .make("near", ["unix:uid:1", "unix:sha256:00"]),
                try .make("none", ["unix:uid:7"]),
            ]))
        let near = try #require(set.nearest(to: try selectors("unix:uid:1", "unix:gid:2")))
        #expect(near.entryID == "near")
        #expect(near.missing == [try Selector("unix:sha256:00")])
        #expect(set.nearest(to: try selectors("unix:uid:99")) == nil)
    }

    @Test("sparse synchronisation asks for what is new, changed or created again")
    func outdated() throws {
        var set = EntrySet()
        _ = set.apply(
            EntryChange(upserted: [
                try .make("same", ["unix:uid:1"], revision: 1, createdAt: 10),
                try .make("changed", ["unix:uid:1"], revision: 1, createdAt: 10),
                try .make("again", ["unix:uid:1"], revision: 0, createdAt: 10),
                try .make("gone", ["unix:uid:1"]),
            ]))
        let (needed, removed) = set.outdated(against: [
            ("same", 1, 0), ("changed", 2, 10), ("again", 0, 11), ("new", 0, 1),
        ])
        #expect(needed == ["again", "changed", "new"])
        #expect(removed == ["gone"])
    }

    @Test("a thousand entries of one user do not hide one another")
    func many() throws {
        var set = EntrySet()
        _ = set.apply(
            EntryChange(
                upserted: try (0..<1000).map {
                    try .make("e\($0)", ["unix:uid:1", "unix:gid:\($0)"])
                }))
        #expect(set.matches(try selectors("unix:uid:1", "unix:gid:77")).map(\.id) == ["e77"])
        _ = set.apply(EntryChange(removedIDs: ["e77"]))
        #expect(set.matches(try selectors("unix:uid:1", "unix:gid:77")).isEmpty)
    }
}
