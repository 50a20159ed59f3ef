import Crypto
import Foundation
import Testing
import X509

@testable import SPIFFE

@Suite("Token Status List") struct StatusListTests {
    private let signer: JWSSigner
    private let bundle: JWTBundle
    private let uri = "https://acme.test/statuslist"

    init() throws {
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        self.signer = try JWSSigner(privateKey: key, keyID: "k", type: "statuslist+jwt")
        self.bundle = JWTBundle(
            trustDomain: try TrustDomain("acme.test"), authorities: ["k": self.signer.publicKey])
    }

    private func claims(_ change: (inout [String: JSONValue]) -> Void = { _ in }) -> [UInt8] {
        var claims: [String: JSONValue] = [
            "sub": .string(self.uri), "iat": 1_800_000_000, "exp": 1_800_000_600,
            "status_list": ["bits": 2, "lst": "eNo76fITAAPfAgc"],
        ]
        change(&claims)
        return JSONValue.object(claims).serialized()
    }

    private func list(_ token: String) throws(RevocationListError) -> StatusList {
        try StatusList(token: token, uri: self.uri, bundle: self.bundle)
    }

    private func refusal(
        _ change: (inout [String: JSONValue]) -> Void
    ) throws -> RevocationListError.Code? {
        let token = try self.signer.sign(claims: self.claims(change))
        do throws(RevocationListError) {
            _ = try self.list(token)
            return nil
        } catch {
            return error.code
        }
    }

    @Test("the examples of the standard (draft-ietf-oauth-status-list §4.1, §4.2)")
    func examples() throws {
        let one = try StatusList.unpacked(["bits": 1, "lst": "eNrbuRgAAhcBXQ"])
        #expect(one.bits == 1 && one.bytes == [0xB9, 0xA3])
        let list = try self.list(try self.signer.sign(claims: self.claims()))
        #expect(list.count == 12 && list.bitsPerToken == 2)
        let statuses = (0..<12).compactMap { list.status(at: $0)?.rawValue }
        #expect(statuses == [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3])
        #expect(list.status(at: 1) == .suspended)
        #expect(list.status(at: 12) == nil)
        #expect(list.status(at: .max) == nil)
        #expect(list.issuedAt == Date(timeIntervalSince1970: 1_800_000_000))
        #expect(list.freshUntil == Date(timeIntervalSince1970: 1_800_000_600))
    }

    @Test("the test vector of 2^20 tokens with one bit (draft-ietf-oauth-status-list appendix)")
    func vector() throws {
        let text =
            "eNrt3AENwCAMAEGogklACtKQPg9LugC9k_ACvreiogEAAKkeCQAAAAAAAAAAAAAAAAAAAIBylgQAAAAAAAAAAAAAAAAAAAAAAAAAA"
            + "AAAAAAAAAAAAAAAAAAAAAAAAAAAXG9IAAAAAAAAAPwsJAAAAAAAAAAAAAAAvhsSAAAAAAAAAAAA7KpLAAAAAAAAAAAAAAAAAAAAAJ"
            + "sLCQAAAAAAAAAAADjelAAAAAAAAAAAKjDMAQAAAACAZC8L2AEb"
        let token = try self.signer.sign(
            claims: self.claims {
                $0["status_list"] = ["bits": 1, "lst": .string(text)]
            })
        let list = try self.list(token)
        #expect(list.count == 1 << 20)
        let revoked: Set<UInt64> = [
            0, 1993, 25460, 159_495, 495_669, 554_353, 645_645, 723_232, 854_545, 934_534,
            1_000_345,
        ]
        for index in 0..<UInt64(list.count) {
            guard list.status(at: index) == (revoked.contains(index) ? .invalid : .valid) else {
                Issue.record("token \(index)")
                return
            }
        }
    }

    @Test("only the list asked for, signed by the trust domain, of the right type")
    func signature() throws {
        let token = try self.signer.sign(claims: self.claims())
        let other = JWTBundle(trustDomain: self.bundle.trustDomain, authorities: [:])
        #expect(throws: RevocationListError.self) {
            try StatusList(token: token, uri: self.uri, bundle: other)
        }
        let subject = #expect(throws: RevocationListError.self) {
            try StatusList(token: token, uri: self.uri + "/", bundle: self.bundle)
        }
        #expect(subject?.code == .subject)
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let forger = try JWSSigner(privateKey: key, keyID: "k", type: "statuslist+jwt")
        let forged = try forger.sign(claims: self.claims())
        #expect(throws: RevocationListError.self) { try self.list(forged) }
        let plain = try JWSSigner(privateKey: key, keyID: "k")
        let bundle = JWTBundle(
            trustDomain: self.bundle.trustDomain, authorities: ["k": plain.publicKey])
        let wrongType = try plain.sign(claims: self.claims())
        let error = #expect(throws: RevocationListError.self) {
            try StatusList(token: wrongType, uri: self.uri, bundle: bundle)
        }
        #expect(error?.code == .malformed)
    }

    @Test("claims that break a rule are refused")
    func claimRules() throws {
        #expect(try self.refusal { _ in } == nil)
        #expect(try self.refusal { $0["iat"] = nil } == .malformed)
        #expect(try self.refusal { $0["iat"] = "1800000000" } == .malformed)
        #expect(try self.refusal { $0["exp"] = true } == .malformed)
        #expect(try self.refusal { $0["ttl"] = 0 } == .malformed)
        #expect(try self.refusal { $0["ttl"] = 60 } == nil)
        #expect(try self.refusal { $0["sub"] = nil } == .subject)
        #expect(try self.refusal { $0["status_list"] = nil } == .malformed)
        for bits: JSONValue in [0, 3, 16, -1, "2", .double(2.5)] {
            #expect(
                try self.refusal {
                    $0["status_list"] = ["bits": bits, "lst": "eNo76fITAAPfAgc"]
                } == .malformed)
        }
        for text: JSONValue in [
            "", "eNo76fITAAPfAgc=", "eNo76fITAAPf", "eNo76fITAAPfAgcA", "AAAA", 7,
            // The checksum is another one.
            "eNo76fITAAPfAgg",
        ] {
            #expect(
                try self.refusal { $0["status_list"] = ["bits": 2, "lst": text] } == .malformed)
        }
    }

    /// 17 MiB of zeros, in 17 kB: `zlib.compress(bytes(17 << 20), 9)`, made here from its parts.
    @Test("what would unpack to too much is refused and never held")
    func bomb() throws {
        let packed = try #require(ZlibBomb.packed(count: StatusList.maximumLength + 1))
        #expect(packed.count < 64 * 1024)
        let error = #expect(throws: RevocationListError.self) {
            try StatusList.unpacked(["bits": 1, "lst": .string(Base64URL.encode(packed))])
        }
        #expect(error?.code == .tooLarge)
        let most = try #require(ZlibBomb.packed(count: StatusList.maximumLength))
        let list = try StatusList.unpacked(["bits": 1, "lst": .string(Base64URL.encode(most))])
        #expect(list.bytes.count == StatusList.maximumLength)
    }

    @Test("the claim of tokens: none, other mechanisms, and what is not in its form")
    func reference() throws {
        func read(_ status: JSONValue?) throws -> TokenStatusReference? {
            try TokenStatusReference.read(status.map { ["status": $0] } ?? [:])
        }
        #expect(try read(nil) == nil)
        #expect(try read([:]) == nil)
        #expect(try read(["other": 7]) == nil)
        let found = try read(["status_list": ["idx": 7, "uri": "u"], "other": 1])
        #expect(found?.index == 7 && found?.uri == "u")
        for bad: JSONValue in [
            "active", 1, [], ["status_list": 1], ["status_list": ["idx": -1, "uri": "u"]],
            ["status_list": ["idx": "1", "uri": "u"]], ["status_list": ["idx": 1]],
            ["status_list": ["idx": 1, "uri": ""]], ["status_list": ["uri": "u"]],
        ] {
            #expect(throws: JOSEError.self) { try read(bad) }
        }
    }
}
