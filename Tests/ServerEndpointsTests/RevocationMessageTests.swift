import ControlPlaneProto
import Foundation
import SPIFFE
import SwiftProtobuf
import Testing

@testable import ServerCore
@testable import ServerEndpoints

@Suite struct RevocationMessageTests {
    private func published(
        tokens: ClosedRange<UInt8>, crls: [String: [UInt8]] = [:], number: UInt64 = 1,
        after preceding: PublishedRevocations? = nil
    ) throws -> PublishedRevocations {
        PublishedRevocations(
            TrustDomainLists(
                trustDomain: try TrustDomain("acme.test"), crls: crls,
                statusLists: ["https://acme.test/statuslist": "a.b.c"],
                revokedTokens: Set(tokens.map { [UInt8](repeating: $0, count: 32) })),
            number: number, after: preceding)
    }

    @Test func `a large state is cut into pages of bounded size that have everything once`() throws
    {
        let small = [UInt8](repeating: 1, count: 300)
        let large = [UInt8](repeating: 2, count: 5000)
        let crls = ["a": small, "b": large]
        let pages = Wire.pages(
            try self.published(tokens: 1...100, crls: crls), isAddition: false, pageBytes: 1_000)
        #expect(pages.count > 3)
        #expect(pages.allSatisfy { $0.trustDomain == "acme.test" && $0.allTokens })
        #expect(pages.flatMap(\.crls).map { [UInt8]($0) } == [small, large])
        #expect(pages.flatMap(\.statusLists).map(\.token) == ["a.b.c"])
        let tokens = pages.flatMap(\.revokedTokens)
        #expect(tokens.count == 100 && Set(tokens).count == 100)
        for page in pages where page.crls.first?.count != 5000 {
            #expect(try page.serializedData().count < 1_200)
        }
    }

    @Test
    func
        `a CRL that no agent takes is told as something that is none, so that the one before stays`()
        throws
    {
        // An empty list, from the vectors of AgentCore's tests.
        let text = """
            MIHMMHQCAQEwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJYWNtZS50ZXN0Fw0yNjAxMDEwMDAwMDBaFw0yNjAxMDEwMDEwMDBa\
            oC8wLTAKBgNVHRQEAwIBAzAfBgNVHSMEGDAWgBQwbc/BUNaD/2a9GrxZ6DAxZ4cfJjAKBggqhkjOPQQDAgNIADBFAiEAhitN\
            QQV5VrPFOjiHfFm9u5qkYps47cbS1rBrOrb0NJQCICR7Fx9OisR2OSMipyzbuGoekh67MRefLaKTOAVRjVMh
            """
        let crl = [UInt8](try #require(Data(base64Encoded: text)))
        _ = try CertificateRevocationList(der: crl)
        #expect(Wire.told(crl, longest: crl.count) == crl)
        let told = Wire.told(crl, longest: crl.count - 1)
        #expect(told == Array(crl.dropLast()))
        #expect(throws: RevocationListError.self) { try CertificateRevocationList(der: told) }
        let long = [UInt8](repeating: 0x30, count: CertificateRevocationList.maximumLength + 1)
        let pages = Wire.pages(
            try self.published(tokens: 1...1, crls: ["a": long]), isAddition: false,
            pageBytes: Wire.revocationPageBytes)
        #expect(pages.flatMap(\.crls).map(\.count) == [Wire.brokenCRLBytes])
    }

    @Test func `only the last message asks for the confirmation`() throws {
        let first = try self.published(tokens: 1...3)
        let second = try self.published(tokens: 1...5, number: 2, after: first)
        var update = SyncUpdate()
        update.removedRevocations = [try TrustDomain("gone.test")]
        update.revocations = [RevocationNews(published: second, isAddition: true)]
        update.revocationNumber = 2
        let messages = Wire.revocationMessages(update)
        #expect(messages.map(\.confirm) == [0, 2])
        #expect(messages.first?.removed == ["gone.test"])
        let told = try #require(messages.last?.upserted.first)
        #expect(!told.allTokens)
        #expect(Set(told.revokedTokens.compactMap(\.first)) == [4, 5])
        update.revocations = [RevocationNews(published: second, isAddition: false)]
        update.removedRevocations = []
        let whole = try #require(Wire.revocationMessages(update).first?.upserted.first)
        #expect(whole.allTokens && whole.revokedTokens.count == 5)
        #expect(Wire.revocationMessages(SyncUpdate()).isEmpty)
    }
}
