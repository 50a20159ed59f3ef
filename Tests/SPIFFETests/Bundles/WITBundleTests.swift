import Crypto
import Foundation
import SPIFFE
import Testing

@Suite("WITBundle and the WIT authorities of SPIFFEBundle")
struct WITBundleTests {
    private let acme: TrustDomain
    private let key = TestTokenKey.p256(P256.Signing.PrivateKey())
    private let other = TestTokenKey.p384(P384.Signing.PrivateKey())
    private let full: SPIFFEBundle

    init() throws {
        self.acme = try TrustDomain("acme.test")
        self.full = try SPIFFEBundle(
            trustDomain: self.acme,
            jwtAuthorities: [JWTAuthorityKey(keyID: "k1", publicKeyDER: self.key.publicKeyDER)],
            witAuthorities: [WITAuthorityKey(keyID: "w1", publicKeyDER: self.other.publicKeyDER)],
            sequenceNumber: 7)
    }

    private func document(_ change: (inout [[String: JSONValue]]) -> Void) throws -> SPIFFEBundle {
        guard var members = try JSONValue(parsing: self.full.json()).objectValue else {
            throw JSONFailure()
        }
        var keys = (members["keys"]?.arrayValue ?? []).compactMap(\.objectValue)
        change(&keys)
        members["keys"] = .array(keys.map(JSONValue.object))
        return try SPIFFEBundle(
            trustDomain: self.acme, json: JSONValue.object(members).serialized())
    }

    private struct JSONFailure: Error {}

    @Test("WIT-32 BND-16: one entry for each authority, with use wit-svid")
    func written() throws {
        let keys = try JSONValue(parsing: self.full.json())["keys"]?.arrayValue ?? []
        #expect(keys.map { $0["use"]?.stringValue } == ["jwt-svid", "wit-svid"])
        #expect(keys.map { $0["kid"]?.stringValue } == ["k1", "w1"])
        let again = try SPIFFEBundle(trustDomain: self.acme, json: self.full.json())
        #expect(again == self.full)
        #expect(again.json() == self.full.json())
    }

    @Test("WIT-33: a key ID occurs once in a bundle, whatever the use")
    func keyIDs() throws {
        for (jwt, wit) in [(["a"], ["a"]), ([], ["a", "a"]), ([], [""])] as [([String], [String])] {
            #expect {
                try SPIFFEBundle(
                    trustDomain: self.acme,
                    jwtAuthorities: jwt.map {
                        JWTAuthorityKey(keyID: $0, publicKeyDER: self.key.publicKeyDER)
                    },
                    witAuthorities: wit.map {
                        WITAuthorityKey(keyID: $0, publicKeyDER: self.other.publicKeyDER)
                    })
            } throws: {
                ($0 as? BundleError)?.code == .keyID
            }
        }
        let read = try self.document { $0[1]["kid"] = "k1" }
        #expect(read.jwtAuthorities.count == 1 && read.witAuthorities.isEmpty)
    }

    @Test(
        "WIT-34: authorities of another use are none of WIT-SVIDs, and bad ones are left out alone")
    func uses() throws {
        let changes: [(inout [String: JSONValue]) -> Void] = [
            { $0["use"] = "jwt-svid" }, { $0["use"] = "WIT-SVID" }, { $0["use"] = nil },
            { $0["kid"] = nil }, { $0["kid"] = "" }, { $0["x"] = "AA" }, { $0["crv"] = "P-256" },
        ]
        for change in changes {
            let read = try self.document { change(&$0[1]) }
            #expect(read.witAuthorities.isEmpty && read.witBundle.authorities.isEmpty)
            #expect(read.jwtBundle.authority(keyID: "k1") != nil)
        }
    }

    @Test("WAPI-22: a key verifies tokens of its own kind only")
    func kinds() throws {
        #expect(self.full.jwtBundle.authority(keyID: "w1") == nil)
        #expect(self.full.witBundle.authority(keyID: "k1") == nil)
        let mixed = try WITBundle(trustDomain: self.acme, jwks: self.full.json())
        #expect(Array(mixed.authorities.keys) == ["w1"])
        let jwt = try JWTBundle(trustDomain: self.acme, jwks: self.full.json())
        #expect(Array(jwt.authorities.keys) == ["k1"])
        let map = SPIFFEBundleMap([self.full])
        #expect(map.witBundle(for: self.acme) == self.full.witBundle)
        #expect(map.witBundle(for: try TrustDomain("partner.test")) == nil)
    }

    @Test("WAPI-46: the form of the Workload API: a text, each key with kid")
    func workloadAPIForm() throws {
        let key = try JWTVerificationKey(publicKeyDER: self.key.publicKeyDER)
        let other = try JWTVerificationKey(publicKeyDER: self.other.publicKeyDER)
        let bundle = WITBundle(trustDomain: self.acme, authorities: ["b": key, "a": other])
        let keys = try JSONValue(parsing: bundle.jwks())["keys"]?.arrayValue ?? []
        #expect(keys.map { $0["kid"]?.stringValue } == ["a", "b"])
        #expect(try WITBundle(trustDomain: self.acme, jwks: Array(bundle.jwks().utf8)) == bundle)
        #expect(WITBundle(trustDomain: self.acme, authorities: [:]).jwks() == #"{"keys":[]}"#)
    }

    @Test("WAPI-30: a bundle that is set replaces the one before it whole")
    func sets() throws {
        var set = WITBundleSet([self.full.witBundle])
        set.set(WITBundle(trustDomain: self.acme, authorities: [:]))
        #expect(set.witBundle(for: self.acme)?.authorities.isEmpty == true)
        set.remove(self.acme)
        #expect(set.witBundle(for: self.acme) == nil && set.bundles.isEmpty)
    }
}
