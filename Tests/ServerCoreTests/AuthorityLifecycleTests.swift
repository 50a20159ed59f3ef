import ServerCore
import Testing

@Suite struct AuthorityLifecycleTests {
    private static func entry(
        _ slot: String, _ status: AuthorityStatus, from: Int64, to: Int64
    ) -> JournalEntry {
        JournalEntry(
            kind: .x509, slot: slot, authorityID: "\(slot)\(from)", status: status, issuedAt: from,
            notAfter: to, der: [])
    }

    @Test func `an empty journal asks for an authority and then lets it sign`() {
        var lifecycle = AuthorityLifecycle([])
        #expect(lifecycle.action(at: 0) == .prepare(slot: "A"))
        #expect(lifecycle.secondsUntilDue(at: 0) == 1)
        lifecycle.prepared(Self.entry("A", .prepared, from: 0, to: 1_000))
        #expect(lifecycle.action(at: 0) == .activate)
        lifecycle.activated()
        #expect(lifecycle.current?.status == .active)
        #expect(lifecycle.next == nil)
        #expect(lifecycle.action(at: 0) == nil)
    }

    struct Threshold: Sendable, CustomTestStringConvertible {
        let name: String
        let lifetime: Int64
        let prepares: Int64
        let activates: Int64
        var testDescription: String { self.name }
    }

    private static let day: Int64 = 86_400
    private static let thresholds: [Threshold] = [
        Threshold(name: "a day", lifetime: day, prepares: day / 2, activates: day / 6),
        Threshold(name: "60 days", lifetime: 60 * day, prepares: 30 * day, activates: 7 * day),
        Threshold(name: "a year", lifetime: 365 * day, prepares: 30 * day, activates: 7 * day),
        Threshold(name: "42 days", lifetime: 42 * day, prepares: 21 * day, activates: 7 * day),
        Threshold(name: "30 days", lifetime: 30 * day, prepares: 15 * day, activates: 5 * day),
        Threshold(name: "a minute", lifetime: 60, prepares: 30, activates: 10),
    ]

    @Test(arguments: thresholds)
    func `prepares and activates when the remaining life falls below the threshold`(row: Threshold)
    {
        let start: Int64 = 1_000
        let end = start + row.lifetime
        var lifecycle = AuthorityLifecycle([Self.entry("A", .active, from: start, to: end)])
        #expect(lifecycle.action(at: end - row.prepares) == nil)
        #expect(lifecycle.action(at: end - row.prepares + 1) == .prepare(slot: "B"))
        #expect(
            lifecycle.secondsUntilDue(at: start) == row.lifetime - row.prepares + 1,
            "it wakes exactly when there is something to do")
        lifecycle.prepared(
            Self.entry("B", .prepared, from: end - row.prepares + 1, to: end + row.lifetime))
        #expect(lifecycle.action(at: end - row.activates) == nil)
        #expect(lifecycle.action(at: end - row.activates + 1) == .activate)
        #expect(
            lifecycle.secondsUntilDue(at: end - row.prepares + 1)
                == max(1, row.prepares - row.activates))
        lifecycle.activated()
        #expect(lifecycle.current?.slot == "B")
        #expect(lifecycle.current?.status == .active)
        #expect(lifecycle.next?.slot == "A")
        #expect(lifecycle.next?.status == .old)
        #expect(lifecycle.entries.map(\.slot) == ["B", "A"])
    }

    @Test(arguments: [3_600, 86_400, 60 * 86_400] as [Int64])
    func `FED-29: an authority is published at least three refresh hints before it signs`(
        lifetime: Int64
    ) {
        // What the published bundle says, in seconds.
        let hint: Int64 = 300
        var lifecycle = AuthorityLifecycle([Self.entry("A", .active, from: 0, to: lifetime)])
        let published = lifecycle.secondsUntilDue(at: 0)
        #expect(lifecycle.action(at: published) == .prepare(slot: "B"))
        lifecycle.prepared(Self.entry("B", .prepared, from: published, to: published + lifetime))
        let activated = published + lifecycle.secondsUntilDue(at: published)
        #expect(lifecycle.action(at: activated) == .activate)
        #expect(activated - published >= 3 * hint)
    }

    @Test func `resumes the active and the prepared one`() {
        let lifecycle = AuthorityLifecycle([
            Self.entry("A", .active, from: 0, to: 600),
            Self.entry("B", .prepared, from: 400, to: 1_000),
        ])
        #expect(lifecycle.current?.slot == "A")
        #expect(lifecycle.next?.status == .prepared)
        #expect(lifecycle.action(at: 499) == nil)
        #expect(lifecycle.action(at: 501) == .activate)
    }

    @Test func `resumes with an old one, which is replaced when its time has come`() {
        let lifecycle = AuthorityLifecycle([
            Self.entry("A", .old, from: 0, to: 600), Self.entry("B", .active, from: 500, to: 1_100),
        ])
        #expect(lifecycle.current?.slot == "B")
        #expect(lifecycle.next?.status == .old)
        #expect(lifecycle.action(at: 800) == nil)
        #expect(lifecycle.action(at: 801) == .prepare(slot: "A"))
    }

    @Test func `a prepared one alone signs at once`() {
        let lifecycle = AuthorityLifecycle([Self.entry("B", .prepared, from: 0, to: 600)])
        #expect(lifecycle.current == nil)
        #expect(lifecycle.action(at: 10) == .activate)
    }

    @Test func `of a pair that has expired nothing signs again`() {
        var lifecycle = AuthorityLifecycle([
            Self.entry("A", .active, from: 0, to: 600),
            Self.entry("B", .prepared, from: 300, to: 900),
        ])
        #expect(lifecycle.action(at: 700) == .activate, "the prepared one still lives")
        #expect(lifecycle.action(at: 900) == .prepare(slot: "B"))
        lifecycle.prepared(Self.entry("B", .prepared, from: 900, to: 1_500))
        #expect(lifecycle.action(at: 900) == .activate)
        lifecycle.activated()
        #expect(lifecycle.action(at: 900) == nil)
    }

    @Test func `a prepared one that expires unused is made again`() {
        let lifecycle = AuthorityLifecycle([
            Self.entry("A", .active, from: 0, to: 1_000),
            Self.entry("B", .prepared, from: 0, to: 700),
        ])
        #expect(lifecycle.action(at: 800) == .prepare(slot: "B"))
    }

    @Test func `activating twice changes nothing`() {
        var lifecycle = AuthorityLifecycle([
            Self.entry("A", .active, from: 0, to: 600),
            Self.entry("B", .prepared, from: 300, to: 900),
        ])
        lifecycle.activated()
        let once = lifecycle.entries
        lifecycle.activated()
        #expect(lifecycle.entries == once)
    }
}
