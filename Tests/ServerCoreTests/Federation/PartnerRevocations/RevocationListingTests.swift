import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

@Suite("listing of revocations") struct RevocationListingTests {
    private static let digest = String(repeating: "A", count: 43)

    private static func read(_ text: String) throws(ServerError) -> RevocationListing {
        let trustDomain: TrustDomain
        do { trustDomain = try TrustDomain("b.test") } catch {
            throw ServerError(.internal, "\(error)")
        }
        return try RevocationListing(Array(text.utf8), of: trustDomain)
    }

    @Test("what is written is read; the bytes are the same for the same lists")
    func written() throws {
        var lists = RevocationLists()
        let trustDomain = try TrustDomain("b.test")
        #expect(
            RevocationListing.document(
                of: lists, trustDomain: trustDomain, statusListURI: "https://b.test/s") == nil)
        for id in ["cd", "ab"] {
            lists.crls[id] = SignedList(
                bytes: Array(id.utf8), authorityID: id, signedAt: 1, expiresAt: 301)
        }
        lists.statusList = SignedList(
            bytes: Array("token".utf8), authorityID: "k", signedAt: 1, expiresAt: 301)
        let bytes = try #require(
            RevocationListing.document(
                of: lists, trustDomain: trustDomain, statusListURI: "https://b.test/s"))
        let listing = try RevocationListing(bytes, of: trustDomain)
        #expect(listing.crls.map(\.authorityID) == ["ab", "cd"])
        #expect(listing.crls[0].sha256 == RevocationListing.digest(Array("ab".utf8)))
        #expect(listing.statusList?.uri == "https://b.test/s")
        // SHA-256 of "token", by another program.
        #expect(
            listing.statusList.map { Base64URL.encode($0.sha256) }
                == "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A")
        #expect(
            RevocationListing.document(
                of: lists, trustDomain: trustDomain, statusListURI: "https://b.test/s") == bytes)
        let without = try #require(
            RevocationListing.document(of: lists, trustDomain: trustDomain, statusListURI: nil))
        #expect(try RevocationListing(without, of: trustDomain).statusList == nil)
    }

    @Test("further members are for later versions")
    func lenient() throws {
        let listing = try Self.read(
            #"{"trust_domain":"b.test","crls":[],"witness":{"a":[1]},"next_update":7}"#)
        #expect(listing.crls.isEmpty && listing.statusList == nil)
        #expect(try Self.read(#"{"trust_domain":"b.test"}"#).crls.isEmpty)
    }

    @Test(
        "anything else is refused, and no ID gets into a path that is not plain hex",
        arguments: [
            "", "{", "[]", "null", "{}", #"{"trust_domain":"c.test"}"#,
            #"{"trust_domain":"B.test"}"#, #"{"trust_domain":7}"#,
        ]
            + ["../x", "AB", "abc", "", "ab/../cd", "ab%2f", String(repeating: "ab", count: 65)]
            .map {
                #"{"trust_domain":"b.test","crls":[{"authority_key_id":"\#($0)","sha256":"\#(digest)"}]}"#
            }
            + [
                #"{"trust_domain":"b.test","crls":[{"authority_key_id":"ab","sha256":"AAAA"}]}"#,
                #"{"trust_domain":"b.test","crls":[{"authority_key_id":"ab"}]}"#,
                #"{"trust_domain":"b.test","crls":["ab"]}"#,
                #"{"trust_domain":"b.test","status_list":{"uri":"","sha256":"\#(digest)"}}"#,
                #"{"trust_domain":"b.test","status_list":{"uri":"u"}}"#,
                #"{"trust_domain":"b.test","status_list":"u"}"#,
            ])
    func refused(text: String) {
        let error = #expect(throws: ServerError.self) { try Self.read(text) }
        #expect(error?.code == .invalidArgument)
    }

    @Test(
        "one authority twice, more CRLs than a bundle has authorities, and too many bytes are refused"
    )
    func bounded() {
        func item(_ id: String) -> String {
            #"{"authority_key_id":"\#(id)","sha256":"\#(Self.digest)"}"#
        }
        func text(_ items: [String]) -> String {
            #"{"trust_domain":"b.test","crls":["# + items.joined(separator: ",") + "]}"
        }
        #expect(throws: ServerError.self) { try Self.read(text([item("ab"), item("ab")])) }
        let many = (0...RevocationListing.maximumCRLs).map {
            item(String(0x1_0000 + $0 * 2, radix: 16) + "f")
        }
        let error = #expect(throws: ServerError.self) { try Self.read(text(many)) }
        #expect(error?.message.contains("1001 CRLs") == true)
        #expect(throws: ServerError.self) {
            try Self.read(
                #"{"trust_domain":"b.test"}"#
                    + String(repeating: " ", count: RevocationListing.maximumBytes))
        }
    }
}
