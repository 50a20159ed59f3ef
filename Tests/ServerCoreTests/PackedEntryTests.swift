import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

@Suite struct PackedEntryTests {
    private func roundTrip(_ entry: Entry) throws -> Entry? {
        var dictionary = PackedEntry.Dictionary()
        let packed = PackedEntry(entry, parent: 70_000, dictionary: &dictionary)
        #expect(packed.id == entry.id)
        #expect(packed.spiffePath == entry.spiffeID.path)
        #expect(packed.parent == 70_000)
        #expect(packed.hasID(entry.id) && !packed.hasID(entry.id + "x"))
        #expect(packed.hasSPIFFEPath(entry.spiffeID.path) && !packed.hasSPIFFEPath(""))
        return packed.unpack(
            trustDomain: try TrustDomain("acme.test"), parentPath: entry.parentID.path,
            dictionary: dictionary)
    }

    @Test func `every field comes back as it was`() throws {
        var entry = try Entry.test(
            "id-1", "/a/b", parent: "/spire/agent/x/1",
            ["unix:uid:1000", "k8s:ns:default", "docker:label:a:b:c"])
        entry.x509SVIDTTL = .max
        entry.jwtSVIDTTL = 127
        entry.federatesWith = [try TrustDomain("a.test"), try TrustDomain("b.test")]
        entry.admin = true
        entry.downstream = true
        entry.expiresAt = .max
        entry.dnsNames = ["a.example", "*.b.example"]
        entry.revision = 128
        entry.storeSVID = true
        entry.hint = "für den Dienst 🦢"
        entry.createdAt = 1_900_000_000
        entry.disableX509SVIDPrefetch = true
        entry.jwtSVIDIncludeJTI = true
        entry.revokesOnExit = true
        #expect(try self.roundTrip(entry) == entry)
    }

    @Test(arguments: 0..<6) func `each flag is kept apart from the others`(flag: Int) throws {
        var entry = try Entry.test("id", "/a", parent: "/b")
        switch flag {
        case 0: entry.admin = true
        case 1: entry.downstream = true
        case 2: entry.storeSVID = true
        case 3: entry.disableX509SVIDPrefetch = true
        case 4: entry.jwtSVIDIncludeJTI = true
        default: entry.revokesOnExit = true
        }
        #expect(try self.roundTrip(entry) == entry)
    }

    @Test(arguments: [127, 128, 129, 16_383, 16_384])
    func `texts on both sides of a length step come back`(length: Int) throws {
        var entry = try Entry.test("id", "/a", parent: "/b")
        entry.hint = String(repeating: "é", count: length / 2) + (length % 2 == 1 ? "x" : "")
        entry.selectors = [try Selector(type: "t", value: String(repeating: "v", count: length))]
        #expect(entry.hint.utf8.count == length)
        #expect(try self.roundTrip(entry) == entry)
    }

    @Test func `an ID of 2048 bytes comes back`() throws {
        let path = "/" + String(repeating: "p", count: 2048 - "spiffe://acme.test/".utf8.count)
        let entry = try Entry.test(String(repeating: "i", count: 255), path, parent: path)
        #expect(entry.spiffeID.string.utf8.count == 2048)
        #expect(try self.roundTrip(entry) == entry)
        var index = EntryIndex(trustDomain: try TrustDomain("acme.test"))
        index.upsert(entry)
        #expect(index.entry(id: entry.id) == entry)
    }

    @Test func `selector types beyond the 255 that have numbers come back too`() throws {
        var index = EntryIndex(trustDomain: try TrustDomain("acme.test"))
        var entries: [Entry] = []
        for number in 0..<300 {
            let entry = try Entry.test(
                "e\(number)", "/w", parent: "/p", ["type-\(number):v", "typ-ü-\(number):wért"])
            index.upsert(entry)
            entries.append(entry)
        }
        for entry in entries { #expect(index.entry(id: entry.id) == entry) }
        for entry in entries { #expect(index.similar(to: entry) == entry) }
    }
}
