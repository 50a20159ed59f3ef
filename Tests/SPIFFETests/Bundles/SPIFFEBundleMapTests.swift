import Crypto
import SPIFFE
import Testing

@Suite("SPIFFEBundleMap")
struct SPIFFEBundleMapTests {
    private let acme: TrustDomain
    private let partner: TrustDomain
    private let key = TestTokenKey.p256(P256.Signing.PrivateKey())

    init() throws {
        self.acme = try TrustDomain("acme.test")
        self.partner = try TrustDomain("partner.test")
    }

    private func bundle(_ trustDomain: TrustDomain, sequence: UInt64 = 1) throws -> SPIFFEBundle {
        try SPIFFEBundle(
            trustDomain: trustDomain,
            jwtAuthorities: [JWTAuthorityKey(keyID: "k1", publicKeyDER: self.key.publicKeyDER)],
            refreshHint: .seconds(300), sequenceNumber: sequence)
    }

    private func code(_ json: String) -> BundleError.Code? {
        do throws(BundleError) {
            _ = try SPIFFEBundleMap(json: Array(json.utf8))
            return nil
        } catch {
            return error.code
        }
    }

    @Test("BND-22 BND-25: the written map: bare names, no hints; an empty one is valid")
    func written() throws {
        let map = SPIFFEBundleMap([try self.bundle(self.acme), try self.bundle(self.partner)])
        let document = try JSONValue(parsing: map.json())
        #expect(document.objectValue?.count == 1)
        let named = document["trust_domains"]?.objectValue ?? [:]
        #expect(Set(named.keys) == ["acme.test", "partner.test"])
        for bundle in named.values {
            #expect(bundle["spiffe_refresh_hint"] == nil)
            #expect(bundle["spiffe_sequence"] == 1)
            #expect(bundle["keys"]?.arrayValue?.count == 1)
        }
        #expect(SPIFFEBundleMap().json() == Array(#"{"trust_domains":{}}"#.utf8))
        #expect(try SPIFFEBundleMap(json: SPIFFEBundleMap().json()).bundles.isEmpty)
        #expect(try SPIFFEBundleMap(json: map.json()).json() == map.json())
    }

    @Test("BND-23: of two bundles for one trust domain one is written")
    func uniqueNames() throws {
        let map = SPIFFEBundleMap([
            try self.bundle(self.acme), try self.bundle(self.acme, sequence: 2),
        ])
        #expect(map.bundles.count == 1)
        #expect(map.bundles[self.acme]?.sequenceNumber == 2)
    }

    @Test("BND-24: a name that is there twice fails the map, however it is spelt")
    func duplicates() {
        for second in ["acme.test", #"acme\u002etest"#] {
            let json =
                #"{"trust_domains":{"acme.test":{"keys":[]},"\#(second)":{"keys":[]}}}"#
            #expect(self.code(json) == .malformed)
        }
    }

    @Test("BND-26: a hint inside a map is not heard")
    func innerHints() throws {
        let json = #"{"trust_domains":{"acme.test":{"keys":[],"spiffe_refresh_hint":1}},"x":[]}"#
        let map = try SPIFFEBundleMap(json: Array(json.utf8))
        #expect(map.bundles[self.acme]?.refreshHint == nil)
        #expect(map.bundles[self.acme]?.refreshInterval() == .seconds(300))
    }

    @Test("BND-27: a map is loaded whole or not at all, and what it leaves out is gone")
    func atomic() throws {
        var map = SPIFFEBundleMap([try self.bundle(self.acme), try self.bundle(self.partner)])
        #expect(map.jwtBundle(for: self.partner)?.authorities.count == 1)
        for bad in [
            #"{"keys":null}"#, "[]", #"{"keys":[],"spiffe_sequence":-1}"#,
        ] {
            let json = #"{"trust_domains":{"acme.test":{"keys":[]},"partner.test":\#(bad)}}"#
            #expect(self.code(json) != nil, "\(bad)")
        }
        map = try SPIFFEBundleMap(json: SPIFFEBundleMap([try self.bundle(self.acme)]).json())
        #expect(map.jwtBundle(for: self.acme)?.authorities.count == 1)
        #expect(map.x509Bundle(for: self.acme)?.authorities.isEmpty == true)
        #expect(map.jwtBundle(for: self.partner) == nil)
        #expect(map.x509Bundle(for: self.partner) == nil)
    }

    @Test("what is no map is refused")
    func malformed() {
        for text in ["", "[]", "{", #"{"keys":[]}"#, #"{"trust_domains":[]}"#] {
            #expect(self.code(text) != nil, "\(text)")
        }
        #expect(self.code(#"{"keys":[]}"#) == .noTrustDomains)
        for name in ["spiffe://acme.test", "Acme.test", "", "acme.test/x"] {
            #expect(
                self.code(#"{"trust_domains":{"\#(name)":{"keys":[]}}}"#) == .trustDomain,
                "\(name)")
        }
    }

    @Test("keys that cannot be used are left out, with the trust domain they were for")
    func ignoredKeys() throws {
        let json = #"{"trust_domains":{"acme.test":{"keys":[{"kty":"AKP","use":"jwt-svid"}]}}}"#
        var reasons: [String] = []
        let map = try SPIFFEBundleMap(json: Array(json.utf8)) { reasons.append($0) }
        #expect(map.bundles[self.acme]?.jwtAuthorities.isEmpty == true)
        #expect(reasons.count == 1 && reasons[0].hasPrefix("bundle of acme.test: key 0 ignored"))
    }
}
