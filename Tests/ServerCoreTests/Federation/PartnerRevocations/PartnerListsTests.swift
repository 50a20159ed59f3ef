import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

@Suite("a partner's lists") struct PartnerListsTests {
    private static let now: Int64 = 1_900_000_000

    private static func crl(
        _ der: [UInt8], _ partner: RevokingPartner, own: RevokingPartner? = nil
    ) throws -> PartnerLists.CRL {
        try PartnerLists.crl(
            der, authorityID: partner.x509.id, partner.authorities, own: own?.authorities,
            keyIDs: try Self.keyIDs())
    }

    /// Of these bundles, at `acme.test`.
    private static func keyIDs(_ bundles: [TrustBundle] = []) throws -> AuthorityKeyIDs {
        var keyIDs = AuthorityKeyIDs(own: try TrustDomain("acme.test"))
        keyIDs.update(bundles)
        return keyIDs
    }

    // MARK: CRLs

    @Test("a CRL that its authority has signed is taken, told and named by its bytes")
    func taken() async throws {
        let partner = try await RevokingPartner()
        let der = try await partner.crl(["ab"])
        var lists = PartnerLists()
        #expect(lists.isEmpty && lists.nextUpdate == nil)
        #expect(try lists.take(try Self.crl(der, partner), now: Self.now))
        #expect(try !lists.take(try Self.crl(der, partner), now: Self.now), "the same again")
        #expect(lists.nextUpdate == Self.now + 300 && lists.bytes == der.count)
        let told = lists.told(of: partner.trustDomain)
        #expect(told.crls == [partner.x509.id: der] && told.trustDomain == partner.trustDomain)
        #expect(told.statusLists.isEmpty && told.revokedTokens.isEmpty)
    }

    @Test("a CRL of a wrong key, of another authority, cut off, padded or of garbage is not")
    func forged() async throws {
        let (partner, stranger) = (try await RevokingPartner(), try await RevokingPartner())
        let good = try await partner.crl(["ab"])
        var flipped = good
        flipped[flipped.count - 1] ^= 1
        let bad: [(String, [UInt8])] = [
            ("wrong key", try await partner.crl(["ab"], signedBy: stranger)),
            ("another authority", try await stranger.crl(["ab"])),
            ("signature", flipped), ("cut off", Array(good.dropLast())), ("padded", good + [0]),
            ("empty", []), ("garbage", [UInt8](repeating: 0x30, count: 5_000)),
            ("page", Array("<html></html>".utf8)),
        ]
        for (what, der) in bad {
            let error = #expect(throws: ServerError.self, "\(what)") {
                try Self.crl(der, partner)
            }
            #expect(error?.code == .invalidArgument)
            #expect(error?.message.contains(partner.x509.id) == true, "\(what)")
        }
    }

    @Test("a CRL in the name of an authority of ours is not taken, whoever has signed it")
    func ours() async throws {
        let own = try await RevokingPartner("acme.test")
        let partner = try await RevokingPartner()
        // The partner's bundle has our authority's name: worse than any bundle that is taken.
        for der in [
            try await own.crl(["ab"]), try await own.crl(["ab"], signedBy: partner),
        ] {
            let error = #expect(throws: ServerError.self) {
                try PartnerLists.crl(
                    der, authorityID: own.x509.id, own.authorities, own: own.authorities,
                    keyIDs: try Self.keyIDs())
            }
            #expect(error?.message.contains("our own trust domain") == true)
        }
        _ = try Self.crl(try await partner.crl(), partner, own: own)
    }

    @Test(
        "a CRL in the name of another partner's authority is not taken, and goes when it is found out"
    )
    func anotherPartners() async throws {
        let (hostile, victim) = (
            try await RevokingPartner("m.test"), try await RevokingPartner("v.test")
        )
        let bundle = try hostile.bundle(claiming: victim)
        let authorities = PartnerAuthorities(bundle)
        let forged = try await victim.crl(signedBy: hostile)
        func taken(_ keyIDs: AuthorityKeyIDs) throws -> PartnerLists.CRL {
            try PartnerLists.crl(
                forged, authorityID: victim.x509.id, authorities, own: nil, keyIDs: keyIDs)
        }
        let both = try Self.keyIDs([bundle, victim.bundle])
        let error = #expect(throws: ServerError.self) { try taken(both) }
        #expect(error?.message.contains("v.test") == true)
        // Before the victim is known nothing speaks against it.
        let alone = try Self.keyIDs([bundle])
        var lists = PartnerLists()
        #expect(try lists.take(try taken(alone), now: Self.now))
        #expect(!lists.hasRival(authorities, keyIDs: alone))
        #expect(lists.hasRival(authorities, keyIDs: both))
        let listing = try RevocationListing(
            Array(
                #"""
                {"trust_domain": "m.test", "crls": [{"authority_key_id": "\#(victim.x509.id)",
                 "sha256": "\#(Base64URL.encode(RevocationListing.digest(forged)))"}]}
                """#.utf8), of: hostile.trustDomain)
        var hasDropped = lists.drop(
            unlisted: listing, authorities, keyIDs: alone, now: Self.now)
        #expect(!hasDropped && !lists.isEmpty)
        hasDropped = lists.drop(unlisted: listing, authorities, keyIDs: both, now: Self.now)
        #expect(hasDropped && lists.isEmpty)
        // The victim's own is taken all the while.
        _ = try PartnerLists.crl(
            try await victim.crl(), authorityID: victim.x509.id, victim.authorities, own: nil,
            keyIDs: both)
    }

    @Test("10 MB are too much, whatever they are")
    func tooLarge() async throws {
        let partner = try await RevokingPartner()
        let error = #expect(throws: ServerError.self) {
            try Self.crl([UInt8](repeating: 0x30, count: 10_000_000), partner)
        }
        #expect(error?.message.contains("10000000 bytes") == true)
        let token = #expect(throws: ServerError.self) {
            try PartnerLists.statusToken(
                [UInt8](repeating: 0x61, count: 10_000_000), uri: "x", partner.authorities)
        }
        #expect(token?.message.contains("10000000 bytes") == true)
    }

    @Test("an older number is not taken, nor an older list of the same number; a newer one is")
    func backwards() async throws {
        let partner = try await RevokingPartner()
        var lists = PartnerLists()
        let held = try await partner.crl(["ab"], number: 7, from: Self.now)
        _ = try lists.take(try Self.crl(held, partner), now: Self.now)
        for older in [
            try await partner.crl(number: 6, from: Self.now + 60),
            try await partner.crl(number: 7, from: Self.now - 60),
        ] {
            let error = #expect(throws: ServerError.self) {
                _ = try lists.take(try Self.crl(older, partner), now: Self.now)
            }
            #expect(error?.code == .failedPrecondition)
            #expect(lists.crls[partner.x509.id]?.der == held)
        }
        let newer = try await partner.crl(["ab", "cd"], number: 8, from: Self.now + 60)
        #expect(try lists.take(try Self.crl(newer, partner), now: Self.now))
        #expect(lists.crls[partner.x509.id]?.der == newer)
    }

    @Test("a list from the future is not taken; one that has ended keeps no other out")
    func clocks() async throws {
        let partner = try await RevokingPartner()
        var lists = PartnerLists()
        let future = try Self.crl(
            try await partner.crl(number: 900, from: Self.now + 301, until: Self.now + 900), partner
        )
        let early = #expect(throws: ServerError.self) { _ = try lists.take(future, now: Self.now) }
        #expect(early?.code == .failedPrecondition && lists.isEmpty)
        #expect(try lists.take(future, now: Self.now + 1))
        let right = try Self.crl(
            try await partner.crl(["ab"], number: 8, from: Self.now + 10, until: Self.now + 5_000),
            partner)
        #expect(throws: ServerError.self) { _ = try lists.take(right, now: Self.now + 899) }
        #expect(try lists.take(right, now: Self.now + 900))
        let token = try PartnerLists.statusToken(
            try await partner.statusList(at: Self.now + 301), uri: partner.statusListURI,
            partner.authorities)
        let tooEarly = #expect(throws: ServerError.self) {
            _ = try lists.take(token, now: Self.now)
        }
        #expect(tooEarly?.code == .failedPrecondition && lists.statusList == nil)
    }

    // MARK: Status lists

    @Test("a status list goes with the key that signed it")
    func signerGone() async throws {
        let (partner, other) = (try await RevokingPartner(), try await RevokingPartner())
        var lists = PartnerLists()
        let list = try PartnerLists.statusToken(
            try await partner.statusList(), uri: partner.statusListURI, partner.authorities)
        #expect(try lists.take(list, now: Self.now))
        let listing = try RevocationListing(
            Array(
                #"""
                {"trust_domain": "\#(partner.trustDomain)", "status_list": {"uri": "\#(partner.statusListURI)",
                 "sha256": "\#(Base64URL.encode(RevocationListing.digest(Array(list.token.utf8))))"}}
                """#.utf8), of: partner.trustDomain)
        var hasDropped = lists.drop(
            unlisted: listing, partner.authorities, keyIDs: try Self.keyIDs(), now: Self.now)
        #expect(!hasDropped && lists.statusList != nil)
        hasDropped = lists.drop(
            unlisted: listing, other.authorities, keyIDs: try Self.keyIDs(), now: Self.now)
        #expect(hasDropped && lists.statusList == nil)
    }

    @Test("a status list of another name, another trust domain or an earlier time is not taken")
    func statusLists() async throws {
        let (partner, other) = (try await RevokingPartner(), try await RevokingPartner("c.test"))
        func read(_ bytes: [UInt8]) throws(ServerError) -> PartnerLists.StatusToken {
            try PartnerLists.statusToken(bytes, uri: partner.statusListURI, partner.authorities)
        }
        var lists = PartnerLists()
        let good = try await partner.statusList([3])
        #expect(try lists.take(try read(good), now: Self.now))
        #expect(try !lists.take(try read(good), now: Self.now))
        #expect(
            lists.told(of: partner.trustDomain).statusLists
                == [partner.statusListURI: String(decoding: good, as: UTF8.self)])
        for (what, bad) in [
            ("another trust domain's", try await other.statusList(uri: partner.statusListURI)),
            ("another name", try await partner.statusList(uri: "https://else.test/statuslist")),
            ("garbage", Array("a.b.c".utf8)), ("no UTF-8", [0xFF, 0xFE]), ("empty", []),
        ] {
            let error = #expect(throws: ServerError.self, "\(what)") { try read(bad) }
            #expect(error?.code == .invalidArgument, "\(what)")
        }
        let older = try read(try await partner.statusList(at: Self.now - 1))
        let error = #expect(throws: ServerError.self) { _ = try lists.take(older, now: Self.now) }
        #expect(error?.code == .failedPrecondition)
        #expect(lists.statusList?.token == String(decoding: good, as: UTF8.self))
    }

    @Test("a status list that unpacks to more than its bound is not taken", arguments: [4, 64])
    func zipBomb(megabytes: Int) async throws {
        let partner = try await RevokingPartner()
        let packed = try Zlib.compress(
            [UInt8](repeating: 0, count: megabytes * 1024 * 1024), level: 9)
        let claims = JSONValue.object([
            "sub": .string(partner.statusListURI), "iat": .int(Self.now),
            "exp": .int(Self.now + 300),
            "status_list": ["bits": 2, "lst": .string(Base64URL.encode(packed))],
        ])
        let token = try await partner.signed(claims.serialized())
        #expect(token.count < 200_000, "small on the wire")
        let error = #expect(throws: ServerError.self) {
            try PartnerLists.statusToken(
                token, uri: partner.statusListURI, partner.authorities)
        }
        #expect(error?.message.contains("unpacks to") == true)
    }

    // MARK: What is missing, and what goes

    @Test("only what is another one is fetched, and only of authorities of the bundle")
    func missing() async throws {
        let (partner, stranger) = (try await RevokingPartner(), try await RevokingPartner())
        let (crl, status) = (try await partner.crl(), try await partner.statusList())
        let listing = try RevocationListing(
            try partner.listing(crl: crl, statusList: status), of: partner.trustDomain)
        var lists = PartnerLists()
        #expect(
            lists.missing(listing, partner.authorities)
                == [.crl(authorityID: partner.x509.id), .statusList])
        #expect(lists.missing(listing, stranger.authorities) == [.statusList])
        let none = PartnerAuthorities(TrustBundle(trustDomain: partner.trustDomain))
        #expect(lists.missing(listing, none).isEmpty)
        _ = try lists.take(try Self.crl(crl, partner), now: Self.now)
        #expect(lists.missing(listing, partner.authorities) == [.statusList])
        let newer = try RevocationListing(
            try partner.listing(crl: try await partner.crl(number: 2), statusList: status),
            of: partner.trustDomain)
        #expect(lists.missing(newer, partner.authorities).count == 2)
    }

    @Test(
        "what the partner names no more counts until its end; without its authority it goes at once"
    )
    func dropped() async throws {
        let (partner, stranger) = (try await RevokingPartner(), try await RevokingPartner())
        var lists = PartnerLists()
        _ = try lists.take(try Self.crl(try await partner.crl(), partner), now: Self.now)
        _ = try lists.take(
            try PartnerLists.statusToken(
                try await partner.statusList(), uri: partner.statusListURI, partner.authorities),
            now: Self.now)
        var hasDropped = lists.drop(
            unlisted: nil, partner.authorities, keyIDs: try Self.keyIDs(), now: Self.now + 299)
        #expect(!hasDropped && lists.crls.count == 1 && lists.statusList != nil)
        var later = lists
        hasDropped = later.drop(
            unlisted: nil, partner.authorities, keyIDs: try Self.keyIDs(), now: Self.now + 300)
        #expect(hasDropped && later.isEmpty)
        // What is still named stays, however old: verifiers judge that.
        let listing = try RevocationListing(
            try partner.listing(
                crl: try await partner.crl(), statusList: try await partner.statusList()),
            of: partner.trustDomain)
        later = lists
        hasDropped = later.drop(
            unlisted: listing, partner.authorities, keyIDs: try Self.keyIDs(), now: Self.now + 9_999
        )
        #expect(!hasDropped)
        hasDropped = later.drop(
            unlisted: listing, stranger.authorities, keyIDs: try Self.keyIDs(), now: Self.now)
        #expect(hasDropped && later.isEmpty)
    }
}
