import Foundation
import SwiftASN1
import Testing
import X509

@testable import SPIFFE

@Suite("Certificate revocation lists") struct CertificateRevocationListTests {
    private func list(_ base64: String) throws -> CertificateRevocationList {
        try CertificateRevocationList(der: CRLVectors.der(base64))
    }

    private static func serial(_ bytes: [UInt8]) -> Certificate.SerialNumber { .init(bytes: bytes) }

    private var authority: Certificate {
        get throws { try Certificate(derEncoded: CRLVectors.der(CRLVectors.authority)) }
    }

    @Test("a list that others made is read and its signature holds")
    func good() throws {
        let list = try self.list(CRLVectors.good)
        #expect(list.count == 3)
        #expect(list.thisUpdate == Date(timeIntervalSince1970: 1_767_225_600))
        #expect(list.nextUpdate == Date(timeIntervalSince1970: 1_767_226_200))
        #expect(list.contains(Self.serial([5])))
        #expect(!list.contains(Self.serial([6])))
        let compromised = try #require(list.entry(for: Self.serial([0x80])))
        #expect(compromised.reason == 1)
        #expect(compromised.revokedAt == Date(timeIntervalSince1970: 1_767_225_605))
        // Whether the serial number's bytes have DER's zero in front makes no difference.
        #expect(list.contains(Self.serial([0, 0x80])))
        let long = [0x7F] + [UInt8](repeating: 0xAB, count: 19)
        #expect(list.entry(for: Self.serial(long))?.reason == 6)
        #expect(!list.contains(Self.serial(Array(long.dropLast()) + [0xAC])))
        #expect(list.isSigned(by: try self.authority))
        #expect(try self.list(CRLVectors.empty).count == 0)
        #expect(try self.list(CRLVectors.empty).isSigned(by: try self.authority))
        #expect(try self.list(CRLVectors.unknown).contains(Self.serial([5])))
    }

    @Test("a list of somebody else counts for nobody")
    func wrongSigner() throws {
        let authority = try self.authority
        #expect(try !self.list(CRLVectors.otherKey).isSigned(by: authority))
        #expect(try !self.list(CRLVectors.otherName).isSigned(by: authority))
        let bare = try Certificate(
            derEncoded: CRLVectors.der(CRLVectors.authorityWithoutCRLSign))
        #expect(try !self.list(CRLVectors.good).isSigned(by: bare))
        // The same answer from memory.
        let good = try self.list(CRLVectors.good)
        for _ in 0..<2 {
            #expect(good.isSigned(by: authority))
            #expect(!good.isSigned(by: bare))
        }
    }

    @Test(
        "lists of another kind are refused",
        arguments: [
            CRLVectors.delta, CRLVectors.distributionPoint, CRLVectors.criticalUnknown,
        ])
    func unsupported(_ base64: String) throws {
        let error = try #require(throws: RevocationListError.self) { try self.list(base64) }
        #expect(error.code == .unsupported)
    }

    @Test("a list that is cut off anywhere, or goes on, is refused")
    func truncated() throws {
        let der = CRLVectors.der(CRLVectors.good)
        for end in 0..<der.count {
            #expect(throws: RevocationListError.self) {
                try CertificateRevocationList(der: Array(der[..<end]))
            }
        }
        #expect(throws: RevocationListError.self) { try CertificateRevocationList(der: der + [0]) }
    }

    @Test("no changed byte is believed")
    func everyByte() throws {
        let authority = try self.authority
        let der = CRLVectors.der(CRLVectors.good)
        for index in der.indices {
            for change: UInt8 in [0x01, 0x80, 0xFF] {
                var changed = der
                changed[index] ^= change
                guard let list = try? CertificateRevocationList(der: changed) else { continue }
                #expect(!list.isSigned(by: authority), "byte \(index) changed by \(change)")
            }
        }
    }

    @Test("lengths that nobody could send are refused at once")
    func lengths() {
        for der: [UInt8] in [
            [], [0x30], [0x30, 0x80], [0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
            [0x30, 0x88, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], [0x30, 0x81, 0x01, 0x00],
        ] {
            let error = #expect(throws: RevocationListError.self) {
                try CertificateRevocationList(der: der)
            }
            #expect(error?.code == .malformed)
        }
        let long = [UInt8](repeating: 0x30, count: CertificateRevocationList.maximumLength + 1)
        let error = #expect(throws: RevocationListError.self) {
            try CertificateRevocationList(der: long)
        }
        #expect(error?.code == .tooLarge)
    }

    @Test("serial numbers are whole, not negative, at most 20 octets, in their shortest form")
    func serials() {
        #expect(SerialNumber(integer: [0]) == SerialNumber(magnitude: []))
        #expect(SerialNumber(integer: [0, 0x80]) == SerialNumber(magnitude: [0x80]))
        #expect(SerialNumber(integer: []) == nil)
        #expect(SerialNumber(integer: [0x80]) == nil)
        #expect(SerialNumber(integer: [0, 0x7F]) == nil)
        let most = [UInt8](repeating: 0xFF, count: 20)
        #expect(SerialNumber(integer: [0] + most[...]) != nil)
        #expect(SerialNumber(integer: [1] + most[...]) == nil)
        let sorted = [1, 2, 0x100, 0x1_0000].map { (number: Int) in
            SerialNumber(magnitude: [
                UInt8(number >> 16 & 0xFF), UInt8(number >> 8 & 0xFF), UInt8(number & 0xFF),
            ])
        }
        for (left, right) in zip(sorted, sorted.dropFirst()) {
            if let left, let right { #expect(left < right) } else { Issue.record("no number") }
        }
    }

    @Test("each of many entries is found, also one that occurs twice")
    func many() throws {
        var entries: [RevokedSerials.Entry] = []
        for number in 0..<10_000 {
            let serial = try #require(
                SerialNumber(magnitude: [UInt8(number >> 8), UInt8(number & 0xFF), 1]))
            entries.append(.init(serial: serial, revokedAt: Int64(number), reason: 0))
        }
        entries.append(entries[17])
        let set = RevokedSerials(entries.shuffled())
        for entry in entries { #expect(set.entry(entry.serial)?.revokedAt == entry.revokedAt) }
        #expect(set.entry(try #require(SerialNumber(magnitude: [0, 0, 2]))) == nil)
    }

    @Test(
        "times are read as RFC 5280 writes them",
        arguments: [
            (0x17, "700101000000Z", 0), (0x17, "491231235959Z", 2_524_607_999),
            (0x17, "500101000000Z", -631_152_000), (0x18, "20500101000000Z", 2_524_608_000),
            (0x17, "240229120000Z", 1_709_208_000), (0x18, "99991231235959Z", 253_402_300_799),
        ] as [(UInt8, String, Int64)])
    func times(_ tag: UInt8, _ text: String, _ seconds: Int64) throws {
        let der = [tag, UInt8(text.utf8.count)] + Array(text.utf8)
        #expect(DERTime.seconds(try #require(DERElement(der[...]))) == seconds)
    }

    @Test(
        "other times are none",
        arguments: [
            "230229120000Z", "241301000000Z", "240001000000Z", "240100000000Z", "240101240000Z",
            "240101006000Z", "240101000060Z", "2401010000Z", "240101000000+0100", "24010100000aZ",
            "240101000000", "",
        ])
    func noTimes(_ text: String) throws {
        let der = [0x17, UInt8(text.utf8.count)] + Array(text.utf8)
        #expect(DERTime.seconds(try #require(DERElement(der[...]))) == nil)
    }
}
