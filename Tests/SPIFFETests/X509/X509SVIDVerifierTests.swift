import Crypto
import CryptoExtras
import Foundation
import SPIFFE
import SwiftASN1
import Testing
import X509

/// A leaf shape and what the verifier must say of it.
private struct LeafCase: Sendable, CustomTestStringConvertible {
    let row: String
    let what: String
    let want: X509SVIDError.Code?
    let shape: @Sendable () throws -> CertificateShape

    init(
        _ row: String, _ what: String, _ want: X509SVIDError.Code?,
        _ change: @escaping @Sendable (inout CertificateShape) throws -> Void
    ) {
        self.row = row
        self.what = what
        self.want = want
        self.shape = {
            var shape = CertificateShape.leaf("spiffe://acme.test/x")
            try change(&shape)
            return shape
        }
    }

    var testDescription: String {
        "\(self.row): \(self.what) → \(self.want.map { $0.description } ?? "accepted")"
    }

    static let all: [LeafCase] = [
        LeafCase("X509-01", "one URI name", nil) { _ in },
        LeafCase("X509-02", "two SPIFFE IDs", .severalURINames) {
            $0.names.append(.uniformResourceIdentifier("spiffe://acme.test/y"))
        },
        LeafCase("X509-02", "a SPIFFE ID and a web address", .severalURINames) {
            $0.names.append(.uniformResourceIdentifier("https://acme.test/"))
        },
        LeafCase("X509-02", "the same URI twice", .severalURINames) { $0.names += $0.names },
        LeafCase("X509-03", "a DNS name only", .noURIName) { $0.names = [.dnsName("acme.test")] },
        LeafCase("X509-03", "no names", .noURIName) { $0.names = [] },
        LeafCase("X509-03", "the SPIFFE ID as common name only", .noURIName) {
            $0.names = []
            $0.subject = "spiffe://acme.test/x"
        },
        LeafCase("X509-04", "other kinds of name beside it", nil) {
            $0.names += [
                .dnsName("api.acme.test"), .rfc822Name("ops@acme.test"),
                .ipAddress(ASN1OctetString(contentBytes: [192, 0, 2, 1])),
            ]
        },
        LeafCase("X509-06", "no path", .noPath) {
            $0.names = [.uniformResourceIdentifier("spiffe://acme.test")]
        },
        LeafCase("X509-07", "empty subject, critical names", nil) {
            $0.subject = ""
            $0.namesCritical = true
        },
        LeafCase("X509-08", "another scheme", .invalidSPIFFEID) {
            $0.names = [.uniformResourceIdentifier("https://acme.test/x")]
        },
        LeafCase("X509-08", "upper-case trust domain", .invalidSPIFFEID) {
            $0.names = [.uniformResourceIdentifier("spiffe://Acme.test/x")]
        },
        LeafCase("X509-08", "upper-case scheme", .invalidSPIFFEID) {
            $0.names = [.uniformResourceIdentifier("SPIFFE://acme.test/x")]
        },
        LeafCase("X509-08", "a query", .invalidSPIFFEID) {
            $0.names = [.uniformResourceIdentifier("spiffe://acme.test/x?y")]
        },
        LeafCase("X509-08", "an empty fragment", .invalidSPIFFEID) {
            $0.names = [.uniformResourceIdentifier("spiffe://acme.test/x#")]
        },
        LeafCase("X509-09", "no basic constraints", nil) { $0.basicConstraints = nil },
        LeafCase("X509-10", "cA true", .certificateAuthority) {
            $0.basicConstraints = .isCertificateAuthority(maxPathLength: nil)
        },
        LeafCase("X509-12", "no key usage", .keyUsage) { $0.keyUsage = nil },
        LeafCase("X509-15", "no digitalSignature", .keyUsage) {
            $0.keyUsage = KeyUsage(keyAgreement: true)
        },
        LeafCase("X509-16", "keyEncipherment and keyAgreement too", nil) {
            $0.keyUsage = KeyUsage(
                digitalSignature: true, keyEncipherment: true, keyAgreement: true)
        },
        LeafCase("X509-18", "keyCertSign", .keyUsage) {
            $0.keyUsage = KeyUsage(digitalSignature: true, keyCertSign: true)
        },
        LeafCase("X509-18", "cRLSign", .keyUsage) {
            $0.keyUsage = KeyUsage(digitalSignature: true, cRLSign: true)
        },
        LeafCase("X509-19", "no extended key usage", nil) { $0.extendedKeyUsage = nil },
        LeafCase("X509-20", "serverAuth alone", .extendedKeyUsage) {
            $0.extendedKeyUsage = [.serverAuth]
        },
        LeafCase("X509-20", "clientAuth alone", .extendedKeyUsage) {
            $0.extendedKeyUsage = [.clientAuth]
        },
        LeafCase("X509-20", "both and another", nil) {
            $0.extendedKeyUsage = [.serverAuth, .clientAuth, .codeSigning]
        },
        LeafCase("X509-21", "critical extended key usage", nil) {
            $0.extendedKeyUsageCritical = true
        },
        LeafCase("X509-30", "expired", .expired) {
            $0.notBefore = Date(timeIntervalSinceNow: -7200)
            $0.notAfter = Date(timeIntervalSinceNow: -3600)
        },
        LeafCase("X509-30", "not valid yet", .notYetValid) {
            $0.notBefore = Date(timeIntervalSinceNow: 600)
        },
        LeafCase("X509-30", "an unknown critical extension", .unhandledCriticalExtension) {
            $0.extra = [.init(oid: [1, 2, 3, 4], critical: true, value: [5, 0])]
        },
        LeafCase("X509-30", "an unknown extension that is not critical", nil) {
            $0.extra = [.init(oid: [1, 2, 3, 4], critical: false, value: [5, 0])]
        },
        LeafCase("X509-30", "name constraints on a leaf", .unhandledCriticalExtension) {
            $0.nameConstraints = NameConstraints(permittedURIDomains: ["acme.test"])
        },
        LeafCase("X509-30", "version 1", .version) { $0.version = .v1 },
        LeafCase("X509-30", "RSA of 2048 bits", nil) {
            $0.key = .init(try _RSA.Signing.PrivateKey(keySize: .bits2048))
        },
        LeafCase("X509-30", "RSA of 1024 bits", .malformedCertificate) {
            $0.key = .init(try _RSA.Signing.PrivateKey(unsafeKeySize: .init(bitCount: 1024)))
        },
        LeafCase("X509-30", "P-384", nil) { $0.key = .init(P384.Signing.PrivateKey()) },
        LeafCase("X509-30", "P-521", nil) { $0.key = .init(P521.Signing.PrivateKey()) },
        LeafCase("X509-30", "Ed25519", nil) { $0.key = .init(Curve25519.Signing.PrivateKey()) },
    ]
}

@Suite("X509SVIDVerifier")
struct X509SVIDVerifierTests {
    private let acme: TrustDomain
    private let partner: TrustDomain
    private let root: TestCertificate
    private let verifier: X509SVIDVerifier

    init() throws {
        self.acme = try TrustDomain("acme.test")
        self.partner = try TrustDomain("partner.test")
        self.root = try TestCertificate(.authority("root", id: "spiffe://acme.test"))
        self.verifier = X509SVIDVerifier(
            bundles: try X509Bundle(trustDomain: self.acme, authoritiesDER: [self.root.der]))
    }

    private func expect(
        _ want: X509SVIDError.Code?, _ chain: [TestCertificate], roots: [TestCertificate]? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let verifier =
            try roots.map {
                X509SVIDVerifier(
                    bundles: try X509Bundle(trustDomain: self.acme, authoritiesDER: $0.map(\.der)))
            } ?? self.verifier
        do throws(X509SVIDError) {
            let verified = try await verifier.verify(chainDER: chain.map(\.der))
            #expect(want == nil, "accepted \(verified.id)", sourceLocation: sourceLocation)
            #expect(verified.leaf == chain[0].certificate, sourceLocation: sourceLocation)
            #expect(verified.chain.first == chain[0].certificate, sourceLocation: sourceLocation)
        } catch {
            #expect(error.code == want, "\(error)", sourceLocation: sourceLocation)
        }
    }

    @Test(
        "X509-01 to X509-04, X509-06 to X509-10, X509-12, 15, 16, 18 to 21, 30: leaf",
        arguments: LeafCase.all)
    private func leaf(_ row: LeafCase) async throws {
        try await self.expect(row.want, [try TestCertificate(try row.shape(), issuer: self.root)])
        // The same leaf below an intermediate takes the long way through the path search.
        let middle = try TestCertificate(.authority("middle"), issuer: self.root)
        try await self.expect(
            row.want, [try TestCertificate(try row.shape(), issuer: middle), middle])
    }

    private func good(_ issuer: TestCertificate) throws -> TestCertificate {
        try TestCertificate(.leaf("spiffe://acme.test/x"), issuer: issuer)
    }

    @Test("the identity is the URI name and the chain ends at the authority")
    func result() async throws {
        let middle = try TestCertificate(.authority("middle"), issuer: self.root)
        let leaf = try self.good(middle)
        let verified = try await self.verifier.verify(chainDER: [leaf.der, middle.der])
        #expect(verified.id.string == "spiffe://acme.test/x")
        #expect(verified.chain == [leaf.certificate, middle.certificate, self.root.certificate])
    }

    @Test("X509-30: no, one and two intermediates, in any order, with or without the root")
    func intermediates() async throws {
        let first = try TestCertificate(.authority("first"), issuer: self.root)
        let second = try TestCertificate(.authority("second"), issuer: first)
        let leaf = try self.good(second)
        try await self.expect(nil, [try self.good(self.root)])
        try await self.expect(nil, [try self.good(self.root), self.root])
        try await self.expect(nil, [try self.good(first), first])
        try await self.expect(nil, [leaf, second, first])
        try await self.expect(nil, [leaf, first, second, self.root])
        try await self.expect(.untrusted, [leaf, second])
        try await self.expect(.untrusted, [leaf, first])
    }

    @Test("X509-30: altered signature, issuer mismatch, unknown root")
    func signatures() async throws {
        let leaf = try self.good(self.root)
        let imposter = try TestCertificate(.authority("root"))
        try await self.expect(.untrusted, [try self.good(imposter)])
        try await self.expect(
            .untrusted,
            [
                try TestCertificate(
                    .leaf("spiffe://acme.test/x"), issuer: self.root, issuerName: "other")
            ])
        try await self.expect(.untrusted, [leaf], roots: [])
        try await self.expect(.untrusted, [leaf], roots: [imposter])
        // Several roots of one name: after a rotation, say.
        try await self.expect(nil, [leaf], roots: [imposter, self.root])
        var altered = leaf.der
        altered[altered.count - 1] ^= 1
        await #expect(throws: X509SVIDError.self) {
            try await self.verifier.verify(chainDER: [altered])
        }
    }

    @Test("ID-24: every changed byte of the leaf fails")
    func everyByte() async throws {
        let leaf = try self.good(self.root)
        for index in leaf.der.indices {
            var altered = leaf.der
            altered[index] ^= 0x01
            do {
                let verified = try await self.verifier.verify(chainDER: [altered])
                Issue.record("byte \(index) changed and \(verified.id) accepted")
            } catch {}
        }
    }

    @Test("X509-30: unused bits in the signature, which no signature protects, are refused")
    func unusedBits() async throws {
        // Only signatures that end with a zero bit can pretend to have one bit less.
        for _ in 0..<20 {
            let leaf = try self.good(self.root)
            let count = leaf.certificate.signature.rawRepresentation.count
            var altered = leaf.der
            altered[altered.count - count - 1] = 1
            await #expect(throws: X509SVIDError.self) {
                try await self.verifier.verify(chainDER: [altered])
            }
        }
    }

    @Test("X509-10 X509-28: a signing certificate authenticates nobody")
    func authority() async throws {
        let named = try TestCertificate(.authority("root", id: "spiffe://acme.test/ca"))
        try await self.expect(.certificateAuthority, [self.root])
        try await self.expect(.certificateAuthority, [named], roots: [named])
        let middle = try TestCertificate(
            .authority("middle", id: "spiffe://acme.test/ca"), issuer: self.root)
        try await self.expect(.certificateAuthority, [middle])
    }

    @Test("X509-30: a leaf that is listed as an authority itself is not trusted for that")
    func listedLeaf() async throws {
        let lone = try TestCertificate(.leaf("spiffe://acme.test/x"))
        try await self.expect(.notAnAuthority, [lone], roots: [lone])
    }

    @Test("X509-30: intermediates that are no signing certificates")
    func badIntermediates() async throws {
        let leafAsIssuer = try self.good(self.root)
        try await self.expect(.notAnAuthority, [try self.good(leafAsIssuer), leafAsIssuer])
        let cases: [(X509SVIDError.Code, CertificateShape)] = [
            (.notAnAuthority, .authority("m") { $0.basicConstraints = nil }),
            (.notAnAuthority, .authority("m") { $0.basicConstraints = .notCertificateAuthority }),
            (.notAnAuthority, .authority("m") { $0.keyUsage = KeyUsage(digitalSignature: true) }),
            (.version, .authority("m") { $0.version = .v1 }),
            (
                .expired,
                .authority("m") {
                    $0.notBefore = Date(timeIntervalSinceNow: -7200)
                    $0.notAfter = Date(timeIntervalSinceNow: -60)
                }
            ),
            (.notYetValid, .authority("m") { $0.notBefore = Date(timeIntervalSinceNow: 600) }),
            (
                .unhandledCriticalExtension,
                .authority("m") {
                    $0.extra = [.init(oid: [1, 2, 3, 4], critical: true, value: [5, 0])]
                }
            ),
            (.extendedKeyUsage, .authority("m") { $0.extendedKeyUsage = [.codeSigning] }),
        ]
        for (want, shape) in cases {
            let middle = try TestCertificate(shape, issuer: self.root)
            try await self.expect(want, [try self.good(middle), middle])
            // As an authority of the bundle it may not sign either.
            let root = try TestCertificate(shape)
            try await self.expect(want, [try self.good(root)], roots: [root])
        }
    }

    @Test("X509-30: SHA-1 is refused on the leaf and above it, not on a root itself")
    func sha1() async throws {
        let key = Certificate.PrivateKey(try _RSA.Signing.PrivateKey(keySize: .bits2048))
        let root = try TestCertificate(
            .authority("rsa") {
                $0.key = key
                $0.signatureAlgorithm = .sha1WithRSAEncryption
            })
        try await self.expect(nil, [try self.good(root)], roots: [root])
        let leaf = try TestCertificate(
            .leaf("spiffe://acme.test/x") { $0.signatureAlgorithm = .sha1WithRSAEncryption },
            issuer: root)
        try await self.expect(.unsupportedSignatureAlgorithm, [leaf], roots: [root])
        let middle = try TestCertificate(
            .authority("m") { $0.signatureAlgorithm = .sha1WithRSAEncryption }, issuer: root)
        try await self.expect(
            .unsupportedSignatureAlgorithm, [try self.good(middle), middle], roots: [root])
    }

    @Test("X509-23: path lengths are honoured")
    func pathLength() async throws {
        func root(_ maximum: Int) throws -> TestCertificate {
            try TestCertificate(
                .authority("root") {
                    $0.basicConstraints = .isCertificateAuthority(maxPathLength: maximum)
                })
        }
        let zero = try root(0)
        try await self.expect(nil, [try self.good(zero)], roots: [zero])
        let below = try TestCertificate(.authority("m"), issuer: zero)
        try await self.expect(.pathLength, [try self.good(below), below], roots: [zero])
        let one = try root(1)
        let first = try TestCertificate(.authority("m"), issuer: one)
        try await self.expect(nil, [try self.good(first), first], roots: [one])
        let second = try TestCertificate(.authority("n"), issuer: first)
        try await self.expect(.pathLength, [try self.good(second), second, first], roots: [one])
        // A self-issued certificate, of a key change say, does not count.
        let renewed = try TestCertificate(.authority("root"), issuer: zero)
        try await self.expect(nil, [try self.good(renewed), renewed], roots: [zero])
    }

    @Test(
        "X509-22: an extended key usage on a signing certificate with both purposes, or any, is fine"
    )
    func signerPurposes() async throws {
        for usages: [ExtendedKeyUsage.Usage] in [[.serverAuth, .clientAuth], [.any]] {
            let middle = try TestCertificate(
                .authority("m") {
                    $0.extendedKeyUsage = usages
                    $0.extendedKeyUsageCritical = true
                }, issuer: self.root)
            try await self.expect(nil, [try self.good(middle), middle])
        }
    }

    @Test("X509-24 X509-26 X509-27: signing certificates without an ID, or of another trust domain")
    func signerIDs() async throws {
        for id in [nil, "spiffe://acme.test", "spiffe://partner.test", "spiffe://acme.test/"] {
            let middle = try TestCertificate(.authority("m", id: id), issuer: self.root)
            try await self.expect(nil, [try self.good(middle), middle])
            let root = try TestCertificate(.authority("r", id: id))
            try await self.expect(nil, [try self.good(root)], roots: [root])
        }
    }

    @Test("X509-29: name constraints are enforced")
    func nameConstraints() async throws {
        func root(_ change: @escaping (inout NameConstraints) -> Void) throws -> TestCertificate {
            var constraints = NameConstraints()
            change(&constraints)
            return try TestCertificate(
                .authority("constrained") { $0.nameConstraints = constraints })
        }
        let fits = try root { $0.permittedSubtrees = [.uniformResourceIdentifier("acme.test")] }
        try await self.expect(nil, [try self.good(fits)], roots: [fits])
        let other = try root { $0.permittedSubtrees = [.uniformResourceIdentifier("partner.test")] }
        try await self.expect(.nameConstraints, [try self.good(other)], roots: [other])
        let excluded = try root { $0.excludedSubtrees = [.uniformResourceIdentifier("acme.test")] }
        try await self.expect(.nameConstraints, [try self.good(excluded)], roots: [excluded])
        let middle = try TestCertificate(
            .authority("m") {
                $0.nameConstraints = NameConstraints(permittedURIDomains: ["partner.test"])
            },
            issuer: self.root)
        try await self.expect(.nameConstraints, [try self.good(middle), middle])
        // Another path without constraints is enough.
        let key = other.key
        let twin = try TestCertificate(.authority("constrained") { $0.key = key })
        try await self.expect(nil, [try self.good(other)], roots: [other, twin])
    }

    @Test("the time that is verified at holds for chains with name constraints, too")
    func nameConstraintsAtAnotherTime() async throws {
        let then = Date(timeIntervalSinceNow: -7200)
        func past(_ shape: inout CertificateShape) {
            shape.notBefore = then - 60
            shape.notAfter = then + 60
        }
        let root = try TestCertificate(
            .authority("constrained") {
                $0.nameConstraints = NameConstraints(permittedURIDomains: ["acme.test"])
                past(&$0)
            })
        let leaf = try TestCertificate(.leaf("spiffe://acme.test/x") { past(&$0) }, issuer: root)
        let bundle = try X509Bundle(
            trustDomain: try TrustDomain("acme.test"), authoritiesDER: [root.der])
        let verified = try await X509SVIDVerifier(bundles: bundle, now: { then }).verify(
            chainDER: [leaf.der])
        #expect(verified.id.string == "spiffe://acme.test/x" && verified.chain.count == 2)
        await #expect(throws: X509SVIDError.self) {
            try await X509SVIDVerifier(bundles: bundle).verify(chainDER: [leaf.der])
        }
    }

    @Test("TRAP-08: a name constraint covers what lies below the name, and no address, as in Go")
    func nameConstraintsBelow() async throws {
        let root = try TestCertificate(
            .authority("constrained") {
                $0.nameConstraints = NameConstraints(permittedURIDomains: [
                    "acme.test", "203.0.113.9",
                ])
            })
        for (name, fits) in [
            ("acme.test", true), ("sub.acme.test", true), ("notacme.test", false),
            ("203.0.113.9", false),
        ] {
            let bundle = try X509Bundle(
                trustDomain: try TrustDomain(name), authoritiesDER: [root.der])
            let leaf = try TestCertificate(.leaf("spiffe://\(name)/x"), issuer: root)
            let verifier = X509SVIDVerifier(bundles: bundle)
            if fits {
                #expect(
                    try await verifier.verify(chainDER: [leaf.der]).id.trustDomain.name == name)
            } else {
                await #expect {
                    try await verifier.verify(chainDER: [leaf.der])
                } throws: {
                    ($0 as? X509SVIDError)?.code == .nameConstraints
                }
            }
        }
    }

    @Test("ID-25 X509-31: only the bundle of the leaf's own trust domain counts")
    func trustDomains() async throws {
        let other = try TestCertificate(.authority("root", id: "spiffe://partner.test"))
        let bundles = X509BundleSet([
            try X509Bundle(trustDomain: self.acme, authoritiesDER: [self.root.der]),
            try X509Bundle(trustDomain: self.partner, authoritiesDER: [other.der]),
        ])
        let verifier = X509SVIDVerifier(bundles: bundles)
        let forged = try self.good(other)
        await #expect { try await verifier.verify(chainDER: [forged.der]) } throws: {
            ($0 as? X509SVIDError)?.code == .untrusted
        }
        let honest = try TestCertificate(.leaf("spiffe://partner.test/x"), issuer: other)
        #expect(try await verifier.verify(chainDER: [honest.der]).id.trustDomain == self.partner)
        try await self.expect(.noBundle, [honest])
    }

    @Test("X509-31: a source that answers with another trust domain's bundle is not believed")
    func confusedSource() async throws {
        struct Confused: X509BundleSource {
            let bundle: X509Bundle
            func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? { self.bundle }
        }
        let other = try TestCertificate(.authority("root"))
        let verifier = X509SVIDVerifier(
            bundles: Confused(
                bundle: try X509Bundle(trustDomain: self.partner, authoritiesDER: [other.der])))
        let leaf = try self.good(other)
        await #expect { try await verifier.verify(chainDER: [leaf.der]) } throws: {
            ($0 as? X509SVIDError)?.code == .noBundle
        }
    }

    @Test("FED-38: trust goes one way")
    func oneWay() async throws {
        let other = try TestCertificate(.authority("partner", id: "spiffe://partner.test"))
        let own = try X509Bundle(trustDomain: self.acme, authoritiesDER: [self.root.der])
        let foreign = try X509Bundle(trustDomain: self.partner, authoritiesDER: [other.der])
        let ours = try self.good(self.root)
        let theirs = try TestCertificate(.leaf("spiffe://partner.test/x"), issuer: other)
        let trusting = X509SVIDVerifier(bundles: X509BundleSet([own, foreign]))
        #expect(try await trusting.verify(chainDER: [theirs.der]).id.trustDomain == self.partner)
        let trusted = X509SVIDVerifier(bundles: X509BundleSet([foreign]))
        await #expect { try await trusted.verify(chainDER: [ours.der]) } throws: {
            ($0 as? X509SVIDError)?.code == .noBundle
        }
    }

    @Test("BND-20: an authority that a new bundle leaves out is trusted no more")
    func replacedBundle() async throws {
        let next = try TestCertificate(.authority("next"))
        var bundles = X509BundleSet([
            try X509Bundle(trustDomain: self.acme, authoritiesDER: [self.root.der])
        ])
        let leaf = try self.good(self.root)
        #expect(
            try await X509SVIDVerifier(bundles: bundles).verify(chainDER: [leaf.der]).id.path
                == "/x")
        bundles.set(try X509Bundle(trustDomain: self.acme, authoritiesDER: [next.der]))
        let after = X509SVIDVerifier(bundles: bundles)
        await #expect(throws: X509SVIDError.self) { try await after.verify(chainDER: [leaf.der]) }
    }

    @Test("X509-30: chains are bounded in number, size and work")
    func limits() async throws {
        try await self.expect(.noCertificate, [])
        let leaf = try self.good(self.root)
        try await self.expect(nil, [leaf] + Array(repeating: self.root, count: 9))
        try await self.expect(.chainTooLong, [leaf] + Array(repeating: self.root, count: 10))
        let bulky = try TestCertificate(
            .authority("m") {
                $0.extra = [
                    .init(
                        oid: [1, 2, 3, 4], critical: false,
                        value: ArraySlice(repeating: 0, count: 65_536))
                ]
            }, issuer: self.root)
        try await self.expect(.chainTooLong, [leaf, bulky])
        // Nine certificates of one name, each of which might have issued each other.
        var crowd: [TestCertificate] = [try TestCertificate(.authority("crowd"))]
        for _ in 0..<8 {
            crowd.append(try TestCertificate(.authority("crowd"), issuer: crowd.last))
        }
        let top = try self.good(crowd[8])
        try await self.expect(.chainTooLong, [top] + crowd.reversed(), roots: [])
        let noHelp = try crowd.map { one in
            try TestCertificate(
                .authority("crowd") { $0.key = one.key }, issuer: self.root, issuerName: "crowd")
        }
        try await self.expect(.untrusted, [top] + noHelp, roots: [self.root])
    }

    @Test("X509-30: stray bytes around a certificate fail it")
    func strayBytes() async throws {
        let leaf = try self.good(self.root)
        for der in [
            leaf.der + [0], [0] + leaf.der, Array(leaf.der.dropLast()), [], [0x30, 0x80, 0, 0],
        ] {
            await #expect(throws: X509SVIDError.self) {
                try await self.verifier.verify(chainDER: [der])
            }
        }
    }

    @Test("the time to verify at can be set")
    func time() async throws {
        let leaf = try self.good(self.root)
        let bundle = try X509Bundle(trustDomain: self.acme, authoritiesDER: [self.root.der])
        let later = X509SVIDVerifier(bundles: bundle, now: { Date(timeIntervalSinceNow: 3700) })
        await #expect { try await later.verify(chainDER: [leaf.der]) } throws: {
            ($0 as? X509SVIDError)?.code == .expired
        }
    }
}
