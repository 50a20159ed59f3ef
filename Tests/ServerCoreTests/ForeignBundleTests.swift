import Crypto
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@Suite struct ForeignBundleTests {
    private static func checked(
        _ bundle: TrustBundle, ownBundle: TrustBundle? = nil
    ) throws -> TrustBundle {
        let own = try TrustDomain("acme.test")
        return try ForeignBundle.checked(
            bundle, own: own, ownBundle: ownBundle, keyIDs: AuthorityKeyIDs(own: own))
    }

    private static func refusal(
        _ bundle: TrustBundle, ownBundle: TrustBundle? = nil
    ) -> ServerError? {
        #expect(throws: ServerError.self) { try Self.checked(bundle, ownBundle: ownBundle) }
    }

    private static func key(_ id: String) -> TrustBundle.JWTAuthorityKey {
        .init(
            keyID: id,
            publicKeyDER: [UInt8](P256.Signing.PrivateKey().publicKey.derRepresentation),
            expiresAt: 0)
    }

    @Test func `a bundle is taken as it is, without duplicates`() throws {
        var bundle = try Partner.stored("b.test", sequence: 7)
        let plain = try Partner.certificate([])
        let oddName = try Partner.certificate(["https://b.test/ca"])
        bundle.x509Authorities += [.init(der: plain), .init(der: oddName)]
        let wanted = bundle
        bundle.x509Authorities.append(.init(der: plain))
        #expect(try Self.checked(bundle) == wanted)
    }

    @Test("BND-03: a bundle without keys is valid") func empty() throws {
        let bundle = TrustBundle(trustDomain: try TrustDomain("b.test"))
        #expect(try Self.checked(bundle).hasNoAuthorities)
    }

    @Test func `a bundle of our own trust domain is refused`() throws {
        #expect(Self.refusal(try Partner.stored("acme.test"))?.code == .invalidArgument)
    }

    @Test(arguments: ["spiffe://acme.test", "spiffe://c.test", "spiffe://c.test/ca"])
    func `an authority that names another trust domain is refused`(name: String) throws {
        var bundle = try Partner.stored("b.test")
        bundle.x509Authorities.append(.init(der: try Partner.certificate([name])))
        #expect(Self.refusal(bundle)?.message.contains("belongs to trust domain") == true)
    }

    @Test("BND-21: an authority of our own is refused in a partner's bundle") func ownKeys() throws
    {
        var own = TrustBundle(trustDomain: try TrustDomain("acme.test"))
        own.x509Authorities = [.init(der: try Partner.certificate([]))]
        own.jwtAuthorities = [Self.key("ours")]
        let good = try Partner.stored("b.test")
        #expect(throws: Never.self) { try Self.checked(good, ownBundle: own) }
        var certificate = good
        certificate.x509Authorities += own.x509Authorities
        #expect(Self.refusal(certificate, ownBundle: own)?.message.contains("our own") == true)
        var key = good
        key.jwtAuthorities.append(
            .init(keyID: "theirs", publicKeyDER: own.jwtAuthorities[0].publicKeyDER, expiresAt: 0))
        #expect(Self.refusal(key, ownBundle: own)?.message.contains("our own") == true)
    }

    @Test("BND-21: a key of our own is refused in another certificate, and under another name")
    func ownKeyElsewhere() throws {
        let key = P256.Signing.PrivateKey()
        var own = TrustBundle(trustDomain: try TrustDomain("acme.test"))
        own.x509Authorities = [.init(der: try Partner.certificate([], key: key))]
        var again = try Partner.stored("b.test")
        again.x509Authorities.append(
            .init(der: try Partner.certificate(["spiffe://b.test"], key: key)))
        #expect(Self.refusal(again, ownBundle: own)?.message.contains("our own") == true)
        var token = try Partner.stored("b.test")
        token.jwtAuthorities.append(
            .init(
                keyID: "x", publicKeyDER: [UInt8](key.publicKey.derRepresentation), expiresAt: 0))
        #expect(Self.refusal(token, ownBundle: own)?.message.contains("our own") == true)
    }

    @Test func `keys that nobody can use, or that have one name, are refused`() throws {
        var broken = try Partner.stored("b.test")
        broken.x509Authorities.append(.init(der: [0x30, 0x00]))
        #expect(Self.refusal(broken)?.code == .invalidArgument)
        var noKey = try Partner.stored("b.test")
        noKey.jwtAuthorities.append(.init(keyID: "x", publicKeyDER: [1, 2, 3], expiresAt: 0))
        #expect(Self.refusal(noKey)?.code == .invalidArgument)
        var twice = try Partner.stored("b.test")
        twice.jwtAuthorities = [Self.key("a"), Self.key("a")]
        #expect(Self.refusal(twice)?.code == .invalidArgument)
        var unnamed = try Partner.stored("b.test")
        unnamed.jwtAuthorities = [Self.key("")]
        #expect(Self.refusal(unnamed)?.code == .invalidArgument)
    }

    @Test func `a huge bundle is refused before its keys are read`() throws {
        var many = TrustBundle(trustDomain: try TrustDomain("b.test"))
        many.x509Authorities = (0...1_000).map { .init(der: [UInt8($0 & 0xFF)]) }
        #expect(Self.refusal(many)?.message.contains("1001 authorities") == true)
        var large = TrustBundle(trustDomain: try TrustDomain("b.test"))
        large.x509Authorities = [.init(der: [UInt8](repeating: 0, count: 1_048_577))]
        #expect(Self.refusal(large)?.message.contains("1048577 bytes") == true)
    }

    @Test(
        arguments: [(-1, 0), (Int64.min, 0), (60, 60), (Int64.max, 31_536_000)] as [(Int64, Int64)])
    func `hints are kept in bounds`(hint: Int64, kept: Int64) throws {
        var bundle = try Partner.stored("b.test")
        bundle.refreshHint = hint
        #expect(try Self.checked(bundle).refreshHint == kept)
    }

    // MARK: Order

    private static func fetched(_ sequence: UInt64?) throws -> TrustBundle {
        TrustBundle(fetched: try Partner.bundle("b.test", sequence: sequence))
    }

    @Test("FED-33: a fetched bundle with a lower number replaces nothing") func older() throws {
        let stored = try Self.fetched(9)
        let error = #expect(throws: ServerError.self) {
            try ForeignBundle.replacement(of: stored, by: try Self.fetched(7))
        }
        #expect(error?.code == .failedPrecondition)
        #expect(error?.message.contains("7 is lower than 9") == true)
        #expect(try ForeignBundle.replacement(of: stored, by: stored) == nil, "nothing is new")
        for newer in [9, 10, UInt64.max] as [UInt64] {
            let bundle = try Self.fetched(newer)
            #expect(try ForeignBundle.replacement(of: stored, by: bundle) == bundle)
        }
    }

    @Test("FED-33: without a number on either side the last fetched wins") func unnumbered() throws
    {
        for (old, new) in [(nil, nil), (9, nil), (nil, 1)] as [(UInt64?, UInt64?)] {
            let bundle = try Self.fetched(new)
            #expect(
                try ForeignBundle.replacement(of: try Self.fetched(old), by: bundle) == bundle)
        }
        let first = try Self.fetched(0)
        #expect(try ForeignBundle.replacement(of: nil, by: first) == first)
    }

    @Test("FED-34: a bundle set by hand stands until the next fetch, whatever its number")
    func byHand() throws {
        let stored = try Partner.stored("b.test", sequence: 1_000)
        let fetched = try Self.fetched(2)
        #expect(try ForeignBundle.replacement(of: stored, by: fetched) == fetched)
    }

    @Test("BND-08: a number of 64 bits stays what it is") func largeNumbers() throws {
        for number in [9_007_199_254_740_993, UInt64.max] {
            let bundle = try SPIFFEBundle(
                trustDomain: try TrustDomain("b.test"),
                json: Array("{\"keys\":[],\"spiffe_sequence\":\(number)}".utf8))
            #expect(TrustBundle(fetched: bundle).foreignSequence == number)
            #expect(TrustBundle(fetched: bundle).publishedSequence == number)
        }
    }
}
