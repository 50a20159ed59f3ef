import Crypto
import Foundation
import SPIFFE
import Testing

@Suite("ProofKey and ConfirmationKey")
struct ProofKeyTests {
    @Test("WAPI-45: a key survives its private JWK", arguments: JWSAlgorithm.allCases)
    func roundTrip(_ algorithm: JWSAlgorithm) throws {
        let key = try ProofKey(generatingFor: algorithm)
        let jwk = try key.privateJWK()
        let again = try ProofKey(jwk: jwk)
        #expect(again.confirmationKey == key.confirmationKey)
        #expect(try again.privateJWK() == jwk)
        let members = try JSONValue(parsing: jwk).objectValue ?? [:]
        #expect(members["alg"] == .string(algorithm.rawValue))
        for (name, value) in key.confirmationKey.jwk { #expect(members[name] == value) }
        let secret = members["d"]?.stringValue ?? ""
        #expect(!secret.isEmpty)
        #expect(!"\(key)\(String(reflecting: key))".contains(secret))
    }

    @Test("coordinates and private numbers of curves have their full width")
    func width() throws {
        // Often enough to meet numbers that begin with a zero byte.
        for _ in 0..<600 {
            let jwk = try JSONValue(parsing: ProofKey(generatingFor: .es256).privateJWK())
            for name in ["x", "y", "d"] {
                #expect(try Base64URL.decode(jwk[name]?.stringValue ?? "").count == 32)
            }
        }
        let large = try JSONValue(parsing: ProofKey(generatingFor: .es512).privateJWK())
        #expect(try Base64URL.decode(large["d"]?.stringValue ?? "").count == 66)
    }

    @Test("what is no private JWK with a fitting alg is refused")
    func refused() throws {
        let good = try JSONValue(parsing: ProofKey(generatingFor: .es256).privateJWK())
        let other = try JSONValue(parsing: ProofKey(generatingFor: .es256).privateJWK())
        let changes: [(inout [String: JSONValue]) -> Void] = [
            { $0["d"] = nil }, { $0["d"] = "" }, { $0["d"] = "AAAA" }, { $0["d"] = other["d"] },
            { $0["x"] = other["x"] }, { $0["alg"] = nil }, { $0["alg"] = "ES384" },
            { $0["alg"] = "none" }, { $0["kty"] = "oct" }, { $0["crv"] = "P-384" },
        ]
        for (index, change) in changes.enumerated() {
            var members = good.objectValue ?? [:]
            change(&members)
            let text = String(decoding: JSONValue.object(members).serialized(), as: UTF8.self)
            #expect(throws: JOSEError.self, "\(index)") { try ProofKey(jwk: text) }
        }
        let rsa = try JSONValue(parsing: ProofKey(generatingFor: .rs256).privateJWK())
        for name in ["n", "e", "d", "p", "q"] {
            var members = rsa.objectValue ?? [:]
            members[name] = nil
            let text = String(decoding: JSONValue.object(members).serialized(), as: UTF8.self)
            #expect(throws: JOSEError.self, "\(name)") { try ProofKey(jwk: text) }
        }
        for text in ["", "x", "[]", "null", "{}"] {
            #expect(throws: JOSEError.self) { try ProofKey(jwk: text) }
        }
    }

    @Test("RSA keys have 2048 to 8192 bits")
    func rsaSizes() {
        #expect {
            try ProofKey(generatingRSAKeyOf: 1024, for: .ps256)
        } throws: {
            ($0 as? JOSEError)?.code == .keySize
        }
        #expect {
            try ProofKey(generatingRSAKeyOf: 2048, for: .es256)
        } throws: {
            ($0 as? JOSEError)?.code == .unsupportedAlgorithm
        }
    }
}
