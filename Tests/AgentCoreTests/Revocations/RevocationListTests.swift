import SPIFFE
import SwiftASN1
import Testing
import X509

@testable import AgentCore

@Suite("Lists of revoked certificates")
struct RevocationListTests {
    private func authority(_ der: [UInt8]) throws -> Certificate {
        try Certificate(derEncoded: der)
    }

    private func bundle(_ authorities: [UInt8]...) -> AgentBundle {
        AgentBundle(
            trustDomain: acme, x509Authorities: authorities.map { .init(der: $0) })
    }

    @Test("what another implementation signed is read, and its signature holds")
    func reads() throws {
        let authority = try self.authority(RevocationVectors.authority)
        let empty = try RevocationList(der: RevocationVectors.empty)
        #expect(empty.count == 0)
        #expect(empty.isSigned(by: authority))
        let name = try authority.extensions.subjectKeyIdentifier
        let keyID = try #require(name).keyIdentifier
        #expect(empty.authorityKeyID == Array(keyID))
        let three = try RevocationList(der: RevocationVectors.three)
        #expect(three.isSigned(by: authority))
        #expect(three.count == 3)
        for serial: [UInt8] in [
            [1], [0, 1], [0x80], [0, 0x80],
            [
                0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
                0x22, 0x11, 0x00,
            ],
        ] {
            #expect(three.contains(serial))
        }
        for serial: [UInt8] in [[], [0], [2], [0x80, 0], [UInt8](repeating: 1, count: 21)] {
            #expect(!three.contains(serial))
        }
        let held = try RevocationList(der: RevocationVectors.held)
        #expect(held.count == 1 && held.contains([0x12, 0x34]), "suspended is taken back too")
    }

    @Test("signatures of each kind of key are checked")
    func algorithms() throws {
        for (der, signer) in [
            (RevocationVectors.rsa, RevocationVectors.rsaAuthority),
            (RevocationVectors.p384, RevocationVectors.p384Authority),
            (RevocationVectors.ed25519, RevocationVectors.ed25519Authority),
        ] {
            let list = try RevocationList(der: der)
            #expect(list.count == 1 && list.contains([5]))
            #expect(list.isSigned(by: try self.authority(signer)))
            #expect(!list.isSigned(by: try self.authority(RevocationVectors.authority)))
        }
    }

    @Test("lists that mean something else, or do not say whose they are, are refused")
    func refused() {
        for der in [
            RevocationVectors.nameless, RevocationVectors.delta, RevocationVectors.partial,
            RevocationVectors.indirect, RevocationVectors.authority, [],
        ] {
            #expect(throws: RevocationList.Refused.self) { try RevocationList(der: der) }
        }
    }

    @Test("no cut and no changed byte is a trap, and none passes as signed")
    func hostile() throws {
        let good = RevocationVectors.three
        let authority = try self.authority(RevocationVectors.authority)
        for length in 0..<good.count {
            #expect(throws: RevocationList.Refused.self) {
                try RevocationList(der: Array(good[..<length]))
            }
        }
        #expect(throws: RevocationList.Refused.self) { try RevocationList(der: good + [0]) }
        for index in good.indices {
            for flip: UInt8 in [0x01, 0x80, 0xff] {
                var bytes = good
                bytes[index] ^= flip
                guard let list = try? RevocationList(der: bytes) else { continue }
                #expect(!list.isSigned(by: authority), "byte \(index) xor \(flip)")
            }
        }
    }

    @Test(
        "a bad list is dropped, what is held of its authority stays, and the state is not complete")
    func keepsTheOld() {
        let bundle = self.bundle(RevocationVectors.authority, RevocationVectors.other)
        var revocations = AgentRevocations()
        func send(_ crls: [[UInt8]]) -> AgentRevocations.Checked {
            AgentRevocations.check(
                DomainRevocations(trustDomain: acme, crls: crls), bundle: bundle,
                held: revocations[acme])
        }
        var difference = revocations.apply(send([RevocationVectors.three]))
        #expect(difference.listsChanged == [acme])
        #expect(revocations[acme]?.isComplete == true)
        for bad in [RevocationVectors.forged, [0x30, 0x00], RevocationVectors.delta] {
            let checked = send([bad, RevocationVectors.ofOther])
            #expect(checked.problems.count == 1)
            difference = revocations.apply(checked)
            #expect(revocations[acme]?.isComplete == false)
            #expect(
                Set(revocations[acme]?.lists.map(\.der) ?? []) == [
                    RevocationVectors.three, RevocationVectors.ofOther,
                ])
        }
        difference = revocations.apply(send([RevocationVectors.empty]))
        #expect(revocations[acme]?.isComplete == true)
        #expect(revocations[acme]?.lists.map(\.der) == [RevocationVectors.empty])
        #expect(difference.listsChanged == [acme])
        difference = revocations.apply(send([RevocationVectors.empty]))
        #expect(difference.changed.isEmpty)
    }

    @Test("a list whose authority is not in the bundle waits for it")
    func unknownAuthority() throws {
        var revocations = AgentRevocations()
        let sent = DomainRevocations(
            trustDomain: acme, crls: [RevocationVectors.three, RevocationVectors.ofOther])
        _ = revocations.apply(
            AgentRevocations.check(
                sent, bundle: self.bundle(RevocationVectors.authority), held: nil))
        #expect(revocations[acme]?.lists.count == 1)
        #expect(revocations[acme]?.isComplete == true)
        let held = try #require(revocations[acme])
        let both = self.bundle(RevocationVectors.authority, RevocationVectors.other)
        _ = revocations.apply(AgentRevocations.check(again: held, of: acme, bundle: both))
        #expect(revocations[acme]?.lists.count == 2)
        let one = self.bundle(RevocationVectors.other)
        _ = revocations.apply(AgentRevocations.check(again: held, of: acme, bundle: one))
        #expect(revocations[acme]?.lists.map(\.der) == [RevocationVectors.ofOther])
    }

    @Test("digests of tokens join those held, or replace them")
    func tokens() throws {
        let a = try #require(SigningInputDigest(ofToken: "a.b.c"))
        let b = try #require(SigningInputDigest(ofToken: "a.c.c"))
        // printf a.b | sha256sum
        #expect(
            a.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                == "2e7336dc8eba87ef472df568c35482abf2575dc3e5eac0c5c62b8ffaeac2c934")
        #expect(SigningInputDigest(ofToken: "a.b.other-signature") == a)
        #expect(SigningInputDigest(ofToken: "a.b") == nil && SigningInputDigest(ofToken: "") == nil)
        #expect(SigningInputDigest(bytes: [UInt8](repeating: 0, count: 31)) == nil)
        #expect(SigningInputDigest(bytes: a.bytes) == a)
        var revocations = AgentRevocations()
        func send(_ tokens: [SigningInputDigest], all: Bool) {
            _ = revocations.apply(
                AgentRevocations.check(
                    DomainRevocations(
                        trustDomain: acme, revokedTokens: tokens, hasAllTokens: all),
                    bundle: nil, held: revocations[acme]))
        }
        send([a], all: true)
        send([b], all: false)
        #expect(revocations.isRevoked(token: "a.b.x", of: acme))
        #expect(revocations.isRevoked(token: "a.c.x", of: acme))
        send([b], all: true)
        #expect(!revocations.isRevoked(token: "a.b.x", of: acme))
        #expect(revocations.isRevoked(token: "a.c.x", of: acme))
        #expect(!revocations.isRevoked(token: "a.c.x", of: try TrustDomain("other.test")))
    }
}
