import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

/// Digests from docs/ledger.md, computed with Python's hashlib and json.
@Suite struct LeafDigestTests {
    /// Of `docker:label:a` and `unix:uid:1`.
    static let twoSelectors = bytes(
        "09697fe5d4dcc82cb83c2d62c9635859f7b11dba17c87f7d33f04ee178109cbf")

    private static func bytes(_ text: String) -> [UInt8] {
        stride(from: 0, to: text.utf8.count, by: 2).compactMap { index in
            UInt8(text.dropFirst(index).prefix(2), radix: 16)
        }
    }

    @Test func `selectors are ordered by their bytes, whatever order they come in`() throws {
        let selectors = try ["unix:uid:1", "docker:label:a"].map { text throws in
            try Selector(text)
        }
        #expect(LeafDigests.selectors(selectors) == Self.twoSelectors)
        #expect(LeafDigests.selectors(selectors.reversed()) == Self.twoSelectors)
        // "a-b:x" comes before "a:y", though the type "a" comes before "a-b".
        let odd = try ["a:y", "a-b:x"].map { text throws in try Selector(text) }
        #expect(
            hex(LeafDigests.selectors(odd))
                == "0f374b426155f9a9e5f216fae2730b9b538b8aa7b689e3966621bfc95af4b4af")
    }

    @Test func `an entry: what is not set is left out`() throws {
        var entry = try Entry.test("e", "/w", parent: "/p", ["unix:uid:1", "docker:label:a"])
        #expect(
            hex(LeafDigests.content(entry))
                == "41fc97f3f6f34bfe1470a29d6b77432302e992b169707f360b7dc64cf294d5a4")
        entry.admin = true
        entry.createdAt = 5
        entry.disableX509SVIDPrefetch = true
        entry.dnsNames = ["b", "a"]
        entry.downstream = true
        entry.expiresAt = 9
        entry.federatesWith = [try TrustDomain("other.test")]
        entry.hint = "h\"é"
        entry.jwtSVIDIncludeJTI = true
        entry.jwtSVIDTTL = 60
        entry.revision = 3
        entry.storeSVID = true
        entry.x509SVIDTTL = 70
        #expect(
            hex(LeafDigests.content(entry))
                == "af7a8770a0db6bd904461a533957182591cfa372caea13354f74accbcd219dba")
        entry.revokesOnExit = true
        #expect(
            hex(LeafDigests.content(entry))
                == "c5bf97d880ecc79ca1804c1a3454eaf09338bdd245a12485a83e282b9aa75a91")
    }

    @Test func `a bundle and a relationship`() throws {
        let domain = try TrustDomain("other.test")
        var bundle = TrustBundle(trustDomain: domain)
        bundle.sequenceNumber = 2
        bundle.refreshHint = 60
        bundle.foreignSequence = 9
        bundle.isFetched = true
        bundle.x509Authorities = [.init(der: [1, 2, 3], tainted: true)]
        bundle.jwtAuthorities = [.init(keyID: "k", publicKeyDER: [1, 2, 3], expiresAt: 8)]
        bundle.witAuthorities = [.init(keyID: "w", publicKeyDER: [1, 2, 3], expiresAt: 0)]
        #expect(
            hex(LeafDigests.content(bundle))
                == "5ab58125f5637aef421d0bc0d4ad1cb04378f509350d37737458595bc99d152a")
        var relationship = FederationRelationship(
            trustDomain: domain, bundleEndpointURL: "https://other.test/b", profile: .httpsWeb)
        #expect(
            hex(LeafDigests.content(relationship))
                == "07c162019ce7a04435cde59a5779f769f67c43330bd7e979ba0ddf1acff72601")
        relationship.profile = .httpsSPIFFE(
            endpointID: try SPIFFEID("spiffe://other.test/spire/server"))
        #expect(
            hex(LeafDigests.content(relationship))
                == "15756f8c95f6b471c0b65269191de97bdb4d2e558cec12c6dfc839f2e0ba78b9")
    }
}
