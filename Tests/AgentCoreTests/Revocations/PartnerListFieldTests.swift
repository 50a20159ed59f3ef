import Crypto
import Foundation
import Logging
import NIOConcurrencyHelpers
import SPIFFE
import SwiftASN1
import Testing
import X509

@testable import AgentCore

@Suite("Partners' lists in the crl field", .timeLimit(.minutes(1))) struct PartnerListFieldTests {
    /// A complete CRL of an authority with that many certificates (RFC 5280 §5.1), byte by byte.
    private static func crl(_ authority: TestAuthority, count: Int) throws -> [UInt8] {
        func element(_ tag: UInt8, _ contents: [UInt8]) -> [UInt8] {
            let count = contents.count
            if count < 0x80 { return [tag, UInt8(count)] + contents }
            let length = [UInt8(count >> 16), UInt8(count >> 8 & 0xff), UInt8(count & 0xff)]
                .drop { $0 == 0 }
            return [tag, 0x80 | UInt8(length.count)] + length + contents
        }
        let ecdsa = element(0x30, [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])
        let start = element(0x17, Array("260101000000Z".utf8))
        let end = element(0x17, Array("491231235959Z".utf8))
        var issuer = DER.Serializer()
        try issuer.serialize(authority.certificate.subject)
        var revoked: [UInt8] = []
        for number in 0..<count {
            revoked += element(
                0x30,
                element(
                    0x02,
                    [0x40, UInt8(number >> 16), UInt8(number >> 8 & 0xff), UInt8(number & 0xff)])
                    + start)
        }
        let keyID = SubjectKeyIdentifier(hash: authority.certificate.publicKey).keyIdentifier
        let name = element(0x30, element(0x80, Array(keyID)))
        let identifier = element(0x30, [0x06, 0x03, 0x55, 0x1d, 0x23] + element(0x04, name))
        let signed = element(
            0x30,
            element(0x02, [1]) + ecdsa + issuer.serializedBytes + start + end
                + element(0x30, revoked) + element(0xa0, element(0x30, identifier)))
        let key = try P256.Signing.PrivateKey(
            pemRepresentation: authority.key.serializeAsPEM().pemString)
        let signature = try key.signature(for: signed).derRepresentation
        return element(0x30, signed + ecdsa + element(0x03, [0] + Array(signature)))
    }

    private static func tell(
        _ identities: WorkloadIdentities, _ trustDomain: TrustDomain, _ crl: [UInt8]
    ) {
        identities.receive(
            .revocations(
                RevocationChange(upserted: [
                    DomainRevocations(trustDomain: trustDomain, crls: [crl])
                ])))
    }

    @Test("they have a bounded share, and who lets a list grow loses their own")
    func bounded() throws {
        let (large, small) = (try TrustDomain("a.test"), try TrustDomain("b.test"))
        let (own, first, second) = (try TestAuthority(), try TestAuthority(), try TestAuthority())
        let identities = WorkloadIdentities(
            trustDomain: acme, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        _ = identities.begin(isPush: true)
        identities.receive(
            .bundles(
                BundleChange(upserted: [own.bundle(), first.bundle(large), second.bundle(small)])))
        identities.receive(
            .entries(
                EntryChange(
                    isSnapshot: true,
                    upserted: [
                        try AuthorizedEntry.make(
                            "a", ["unix:uid:1"], federatesWith: ["a.test", "b.test"])
                    ])))
        let views = NIOLockedValueBox<[[[UInt8]]]>([])
        let domains = NIOLockedValueBox<[String]>([])
        let (_, now) = identities.subscribe(.x509Bundles, try selectors("unix:uid:1")) { delivery in
            if case .bundles(let view) = delivery { views.withLockedValue { $0.append(view.crls) } }
        }
        if case .bundles(let view)? = now { views.withLockedValue { $0.append(view.crls) } }
        let (_, told) = identities.subscribe(.revocations, try selectors("unix:uid:1")) {
            delivery in
            guard case .revocations(let view) = delivery else { return }
            domains.withLockedValue {
                $0 = view.domains.map { "\($0.trustDomain.name):\($0.crls.count)" }
            }
        }
        _ = told

        let (ours, tiny) = (try Self.crl(own, count: 1), try Self.crl(second, count: 2))
        let some = try Self.crl(first, count: 3)
        Self.tell(identities, acme, ours)
        Self.tell(identities, small, tiny)
        Self.tell(identities, large, some)
        #expect(views.withLockedValue { $0.last } == [ours, some, tiny])
        // 60,000 certificates of 23 bytes each.
        let huge = try Self.crl(first, count: 60_000)
        #expect(huge.count > SVIDCache.mostPartnerCRLBytes)
        Self.tell(identities, large, huge)
        #expect(
            views.withLockedValue { $0.last } == [ours, tiny], "no stock client stumbles over it")
        #expect(
            domains.withLockedValue { $0 } == ["acme.test:1", "a.test:1", "b.test:1"],
            "who asks for everything gets everything")
        Self.tell(identities, large, some)
        #expect(views.withLockedValue { $0.last } == [ours, some, tiny])
    }
}
