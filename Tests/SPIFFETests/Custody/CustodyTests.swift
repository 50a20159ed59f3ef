import Crypto
import Foundation
import SPIFFE
import Testing
import X509

@Suite("Custody statements")
struct CustodyTests {
    private static let now: @Sendable () -> Date = {
        Date(timeIntervalSince1970: Double(CustodyVectors.time) + 5)
    }

    private func authority() throws -> X509Bundle {
        try X509Bundle(
            trustDomain: try TrustDomain("city.test"),
            authoritiesDER: [Array(try #require(Data(base64Encoded: CustodyVectors.authority)))])
    }

    private func svid(
        _ id: String, _ authority: TestCertificate, key: Certificate.PrivateKey? = nil
    ) throws -> X509SVID {
        let leaf = try TestCertificate(.leaf(id) { $0.key = key }, issuer: authority)
        return try X509SVID(certificates: [leaf.der], privateKeyPKCS8DER: try leaf.pkcs8)
    }

    private func code(_ body: () async throws -> Void) async -> CustodyError.Code? {
        do { try await body() } catch let error as CustodyError { return error.code } catch {
            Issue.record("\(error)")
        }
        return nil
    }

    @Test("A statement and a receipt made in Python are read and verified")
    func vectors() async throws {
        let signed = try SignedCustodyStatement(CustodyVectors.statement)
        #expect(signed.signer.string == "spiffe://city.test/sensor")
        #expect(signed.statement.action == "report-reading")
        #expect(signed.statement.transaction == "txn-1")
        #expect(signed.statement.peer?.string == "spiffe://city.test/analyzer")
        #expect(signed.statement.time == Date(timeIntervalSince1970: Double(CustodyVectors.time)))
        #expect(signed.statement.detailsSHA256 == Array(SHA256.hash(data: Array("57.5".utf8))))
        #expect(signed.serial == "abc")
        #expect(
            signed.digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                == CustodyVectors.digest)
        let receipt = try CustodyReceipt(CustodyVectors.receipt)
        #expect(receipt.signer.string == "spiffe://city.test/analyzer")
        let verifier = CustodyVerifier(bundles: try self.authority(), now: Self.now)
        try await verifier.verify(signed)
        try await verifier.verify(receipt, for: signed)
    }

    @Test(
        "What breaks a rule is refused with its code", arguments: CustodyVectors.refused.map(\.name)
    )
    func refused(_ name: String) async throws {
        let row = try #require(CustodyVectors.refused.first { $0.name == name })
        let code = await self.code { _ = try SignedCustodyStatement(row.token) }
        #expect(code?.description == row.code)
    }

    @Test("No byte of a statement may change, and none may be missing")
    func everyByte() async throws {
        let token = Array(CustodyVectors.statement.utf8)
        for index in token.indices {
            var changed = token
            changed[index] =
                changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            let text = String(decoding: changed, as: UTF8.self)
            #expect(throws: CustodyError.self) { try SignedCustodyStatement(text) }
        }
        for length in stride(from: 0, to: token.count, by: 7) {
            let text = String(decoding: token[..<length], as: UTF8.self)
            #expect(throws: CustodyError.self) { try SignedCustodyStatement(text) }
        }
        let huge = CustodyVectors.statement + String(repeating: "A", count: 16 * 1024)
        #expect(await self.code { _ = try SignedCustodyStatement(huge) } == .tooLarge)
        #expect(await self.code { _ = try CustodyReceipt(huge) } == .tooLarge)
        // A receipt is no statement, and the other way round.
        #expect(
            await self.code { _ = try SignedCustodyStatement(CustodyVectors.receipt) } == .malformed
        )
        #expect(await self.code { _ = try CustodyReceipt(CustodyVectors.statement) } == .malformed)
    }

    @Test("Our own statements are verified, with every kind of key that signs JWS")
    func made() async throws {
        let authority = try TestCertificate(.authority("root", id: "spiffe://a.test"))
        let bundle = try X509Bundle(
            trustDomain: try TrustDomain("a.test"), authoritiesDER: [authority.der])
        let peer = try self.svid("spiffe://a.test/peer", authority)
        for key in [
            Certificate.PrivateKey(P256.Signing.PrivateKey()), .init(P384.Signing.PrivateKey()),
        ] {
            let svid = try self.svid("spiffe://a.test/w", authority, key: key)
            let signed = try CustodyStatement(
                action: "open valve", transaction: "t/1", peer: peer.id,
                detailsSHA256: [UInt8](repeating: 7, count: 32)
            ).signed(by: svid)
            #expect(try SignedCustodyStatement(signed.token) == signed)
            let receipt = try CustodyReceipt(for: signed, signedBy: peer)
            let verifier = CustodyVerifier(bundles: bundle)
            try await verifier.verify(signed)
            try await verifier.verify(receipt, for: signed)
            // Only the peer gives a receipt, and one receipt is for one statement.
            #expect(
                await self.code { _ = try CustodyReceipt(for: signed, signedBy: svid) } == .receipt)
            let other = try CustodyStatement(
                action: "open valve", transaction: "t/2", peer: peer.id
            ).signed(by: svid)
            #expect(await self.code { try receipt.check(other) } == .receipt)
        }
        let edwards = try self.svid(
            "spiffe://a.test/e", authority, key: .init(Curve25519.Signing.PrivateKey()))
        let statement = try CustodyStatement(action: "a", transaction: "t")
        #expect(await self.code { _ = try statement.signed(by: edwards) } == .signing)
    }

    @Test("Strangers, the future and expired certificates are refused")
    func untrusted() async throws {
        let signed = try SignedCustodyStatement(CustodyVectors.statement)
        let other = try TestCertificate(.authority("root", id: "spiffe://city.test"))
        let stranger = try X509Bundle(
            trustDomain: try TrustDomain("city.test"), authoritiesDER: [other.der])
        #expect(
            await self.code {
                try await CustodyVerifier(bundles: stranger, now: Self.now).verify(signed)
            } == .untrusted)
        let early: @Sendable () -> Date = {
            Date(timeIntervalSince1970: Double(CustodyVectors.time) - 61)
        }
        let bundle = try self.authority()
        #expect(
            await self.code {
                try await CustodyVerifier(bundles: bundle, now: early).verify(signed)
            } == .time)
        // 2130-01-01
        let late: @Sendable () -> Date = { Date(timeIntervalSince1970: 5_049_129_600) }
        #expect(
            await self.code {
                try await CustodyVerifier(bundles: bundle, now: late).verify(signed)
            } == .untrusted)
    }

    @Test("Claims have bounds")
    func bounds() async throws {
        for (action, transaction) in [
            ("", "t"), ("a", ""), (String(repeating: "a", count: 129), "t"), ("ä", "t"),
            ("a", "t t"), ("a\n", "t"),
        ] {
            #expect(
                await self.code {
                    _ = try CustodyStatement(action: action, transaction: transaction)
                }
                    == .invalidClaim)
        }
        #expect(
            await self.code {
                _ = try CustodyStatement(action: "a", transaction: "t", detailsSHA256: [1])
            } == .invalidClaim)
    }
}
