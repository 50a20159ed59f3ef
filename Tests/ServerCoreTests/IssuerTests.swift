import Crypto
import Foundation
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftASN1
import Testing
import Transparency
import X509

private let testKey = Certificate.PublicKey(P256.Signing.PrivateKey().publicKey)

@Suite struct X509IssuanceTests {
    private static func leaf(_ svid: IssuedX509SVID) throws -> Certificate {
        try Certificate(derEncoded: try #require(svid.chain.first))
    }

    private static func issuance(_ plane: TestPlane, _ path: String = "/w") throws -> X509Issuance {
        X509Issuance(spiffeID: try plane.id(path), publicKey: testKey, origin: .mint)
    }

    @Test func `a leaf keeps the rules X509-01, 09, 12, 15, 17, 19 and 20`() async throws {
        let plane = try await TestPlane()
        var issuance = try Self.issuance(plane, "/w/1")
        issuance.dnsNames = ["a.example", "b.example"]
        let svid = try await plane.issuer.issue(issuance, requestedBy: "test")
        let leaf = try Self.leaf(svid)
        let extensions = leaf.extensions
        // X509-01: exactly one URI name, the SPIFFE ID.
        let names = try #require(try extensions.subjectAlternativeNames)
        #expect(
            Array(names) == [
                .uniformResourceIdentifier("spiffe://acme.test/w/1"), .dnsName("a.example"),
                .dnsName("b.example"),
            ])
        // X509-09: not a certificate authority.
        #expect(try extensions.basicConstraints == .notCertificateAuthority)
        // X509-12: key usage is there and critical.
        #expect(extensions[oid: .X509ExtensionID.keyUsage]?.critical == true)
        // X509-15 and X509-17: digitalSignature, neither keyCertSign nor cRLSign.
        #expect(
            try extensions.keyUsage
                == KeyUsage(digitalSignature: true, keyEncipherment: true, keyAgreement: true))
        // X509-19 and X509-20: both purposes.
        let usages = try #require(try extensions.extendedKeyUsage)
        #expect(usages.contains(.serverAuth) && usages.contains(.clientAuth))
        #expect(leaf.version == .v3)
        #expect(leaf.publicKey == testKey)
        #expect(hex(leaf.serialNumber.bytes) == svid.serial)
        #expect(svid.chain.count == 1)
    }

    @Test func `X509-05: an SVID without path or of another trust domain is refused`() async throws
    {
        let plane = try await TestPlane()
        for text in ["spiffe://acme.test", "spiffe://evil.test/w", "spiffe://acme.test.evil/w"] {
            let issuance = X509Issuance(
                spiffeID: try SPIFFEID(text), publicKey: testKey, origin: .mint)
            let error = await #expect(throws: ServerError.self) {
                try await plane.issuer.issue(issuance, requestedBy: "test")
            }
            #expect(error?.code == .invalidArgument)
        }
        #expect(plane.recorder.issued.isEmpty)
        #expect(
            plane.recorder.refused.map(\.reason) == [
                "invalid_request", "invalid_request", "invalid_request",
            ])
    }

    @Test func `X509-07: the subject is never empty`() async throws {
        let plane = try await TestPlane()
        var issuance = try Self.issuance(plane)
        for subject in [nil, DistinguishedName(), try DistinguishedName { CommonName("cn") }] {
            issuance.subject = subject
            for names in [[], ["a.example"]] {
                issuance.dnsNames = names
                let leaf = try Self.leaf(
                    try await plane.issuer.issue(issuance, requestedBy: "test"))
                #expect(!leaf.subject.isEmpty)
            }
        }
    }

    @Test func `the first DNS name replaces the common name of the subject`() async throws {
        let plane = try await TestPlane()
        var issuance = try Self.issuance(plane)
        issuance.subject = try DistinguishedName {
            OrganizationName("Acme")
            CommonName("mine")
        }
        issuance.dnsNames = ["a.example"]
        let leaf = try Self.leaf(try await plane.issuer.issue(issuance, requestedBy: "test"))
        let text = String(describing: leaf.subject)
        #expect(text.contains("a.example") && text.contains("Acme") && !text.contains("mine"))
    }

    @Test func `authorities keep the rules X509-11 to 14, 22, 24 to 26, 36 and ID-23`() async throws
    {
        let plane = try await TestPlane()
        let authorities = try #require(plane.directory.ownBundle).x509Authorities
        #expect(authorities.count == 1)
        for authority in authorities {
            let certificate = try Certificate(derEncoded: authority.der)
            let extensions = certificate.extensions
            // X509-11: cA is true.
            guard case .isCertificateAuthority = try extensions.basicConstraints else {
                Issue.record("not a certificate authority")
                continue
            }
            // X509-12: key usage is critical.
            #expect(extensions[oid: .X509ExtensionID.keyUsage]?.critical == true)
            // X509-13 and X509-14: keyCertSign (and cRLSign), nothing of a leaf.
            #expect(try extensions.keyUsage == KeyUsage(keyCertSign: true, cRLSign: true))
            // X509-22: no extended key usage, which would bind what is below.
            #expect(try extensions.extendedKeyUsage == nil)
            // X509-36: self-signed.
            #expect(certificate.issuer == certificate.subject)
            #expect(certificate.publicKey.isValidSignature(certificate.signature, for: certificate))
            // ID-23, X509-24 to X509-26: the ID of the trust domain, without path.
            #expect(
                try extensions.subjectAlternativeNames.map(Array.init)
                    == [.uniformResourceIdentifier("spiffe://acme.test")])
        }
    }

    @Test(arguments: KeyTypeCase.all) func `what every kind of authority signs verifies`(
        row: KeyTypeCase
    ) async throws {
        let plane = try await TestPlane(
            authority: .init(x509KeyType: row.type, jwtKeyType: row.type))
        let svid = try await plane.issuer.issue(try Self.issuance(plane), requestedBy: "test")
        let bundle = try X509Bundle(
            trustDomain: plane.trustDomain,
            authoritiesDER: try #require(plane.directory.ownBundle).x509Authorities.map(\.der))
        let verifier = X509SVIDVerifier(bundles: bundle, now: plane.clock.now)
        #expect(try await verifier.verify(chainDER: svid.chain).id == svid.spiffeID)
    }

    @Test func `TRAP-11: the life of an SVID never exceeds that of its authority`() async throws {
        let plane = try await TestPlane(authority: .init(authorityTTL: .seconds(7_200)))
        let end = plane.clock.unixTime + 7_200
        var issuance = try Self.issuance(plane)
        for (ttl, wanted) in [
            (Int32(0), plane.clock.unixTime + 3_600), (60, plane.clock.unixTime + 60),
            (7_199, end - 1),
            (7_200, end), (7_201, end), (.max, end),
        ] {
            issuance.ttl = ttl
            let svid = try await plane.issuer.issue(issuance, requestedBy: "test")
            #expect(svid.expiresAt == wanted)
            let leaf = try Self.leaf(svid)
            #expect(Int64(leaf.notValidAfter.timeIntervalSince1970) == wanted)
            #expect(leaf.notValidBefore < plane.clock.now())
        }
    }

    @Test func `nothing is signed once the authority has ended`() async throws {
        let plane = try await TestPlane(authority: .init(authorityTTL: .seconds(60)))
        plane.clock.advance(by: 60)
        let issuance = try Self.issuance(plane)
        let error = await #expect(throws: ServerError.self) {
            try await plane.issuer.issue(issuance, requestedBy: "test")
        }
        #expect(error?.code == .unavailable)
    }

    @Test func `the record of an SVID stands before it is released`() async throws {
        let plane = try await TestPlane()
        let svid = try await plane.issuer.issue(try Self.issuance(plane), requestedBy: "uid:7")
        let leaf = try #require(plane.recorder.issued.last)
        #expect(leaf.svidType == .x509)
        #expect(leaf.serial == svid.serial && leaf.jti == nil)
        #expect(leaf.svidDigest == Array(SHA256.hash(data: svid.chain[0])))
        #expect(leaf.notAfter == LeafTime(seconds: svid.expiresAt))
        #expect(leaf.entryID == nil && leaf.node == nil)
        #expect(leaf.caller == "uid:7")
        #expect(leaf.authorityID == (try plane.authorities.x509Authority().id))
    }

    @Test func `when the record cannot be written nothing is released`() async throws {
        let plane = try await TestPlane()
        plane.recorder.fail(ServerError(.unavailable, "disk is full"))
        let issuances = [try Self.issuance(plane), try Self.issuance(plane, "/v")]
        let error = await #expect(throws: ServerError.self) {
            try await plane.issuer.issue(issuances, requestedBy: "test")
        }
        #expect(error?.code == .unavailable)
        let jwt = JWTIssuance(spiffeID: try plane.id("/w"), audience: ["a"], origin: .mint)
        await #expect(throws: ServerError.self) {
            try await plane.issuer.issue(jwt, requestedBy: "test")
        }
    }

    @Test func `a refused issuance does not stop the others, and all share one record append`()
        async throws
    {
        let plane = try await TestPlane()
        let before = plane.recorder.appends
        let foreign = X509Issuance(
            spiffeID: try SPIFFEID("spiffe://evil.test/w"), publicKey: testKey, origin: .mint)
        let results = try await plane.issuer.issue(
            [try Self.issuance(plane, "/a"), foreign, try Self.issuance(plane, "/b")],
            requestedBy: "test")
        #expect(results.map { (try? $0.get())?.spiffeID.path } == ["/a", nil, "/b"])
        #expect(plane.recorder.appends == before + 1)
        #expect(plane.recorder.issued.suffix(2).map(\.spiffeID.path) == ["/a", "/b"])
    }

    @Test func `serial numbers are positive, of 16 bytes, and differ`() {
        var seen: Set<[UInt8]> = []
        for _ in 0..<1_000 {
            let serial = SerialNumbers.random()
            #expect(serial.count == 16 && serial[0] & 0x80 == 0 && serial[0] != 0)
            #expect(seen.insert(serial).inserted)
        }
    }
}
