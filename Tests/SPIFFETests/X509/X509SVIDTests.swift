import Crypto
import CryptoExtras
import Foundation
import SPIFFE
import Testing
import X509

@Suite("X509SVID and DER chains")
struct X509SVIDTests {
    private let root: TestCertificate
    private let middle: TestCertificate
    private let leaf: TestCertificate

    init() throws {
        self.root = try TestCertificate(.authority("root"))
        self.middle = try TestCertificate(.authority("middle"), issuer: self.root)
        self.leaf = try TestCertificate(.leaf("spiffe://acme.test/x"), issuer: self.middle)
    }

    private func code(_ body: () throws -> Void) -> X509SVIDError.Code? {
        do {
            try body()
            return nil
        } catch {
            return (error as? X509SVIDError)?.code
        }
    }

    @Test("reads what the Workload API sends and keeps the bytes")
    func reads() throws {
        let svid = try X509SVID(
            certificateChainDER: self.leaf.der + self.middle.der,
            privateKeyPKCS8DER: try self.leaf.pkcs8, hint: "internal")
        #expect(svid.id.string == "spiffe://acme.test/x")
        #expect(svid.certificates == [self.leaf.certificate, self.middle.certificate])
        #expect(svid.certificateChainDER == [self.leaf.der, self.middle.der])
        #expect(svid.concatenatedDER == self.leaf.der + self.middle.der)
        #expect(svid.hint == "internal")
        #expect(svid.expiresAt == self.leaf.certificate.notValidAfter)
        #expect(svid.privateKey.publicKey == self.leaf.certificate.publicKey)
        let again = try X509SVID(
            certificates: [self.leaf.der, self.middle.der], privateKeyPKCS8DER: try self.leaf.pkcs8,
            hint: "internal")
        #expect(svid == again)
    }

    @Test("every kind of key comes back from PKCS#8", arguments: 0..<5)
    func keys(_ kind: Int) throws {
        let key: Certificate.PrivateKey =
            switch kind {
            case 0: .init(P256.Signing.PrivateKey())
            case 1: .init(P384.Signing.PrivateKey())
            case 2: .init(P521.Signing.PrivateKey())
            case 3: .init(Curve25519.Signing.PrivateKey())
            default: .init(try _RSA.Signing.PrivateKey(keySize: .bits2048))
            }
        let leaf = try TestCertificate(
            .leaf("spiffe://acme.test/x") { $0.key = key }, issuer: self.root)
        var pkcs8 = try leaf.pkcs8
        if kind == 4, let rsa = try? _RSA.Signing.PrivateKey(derRepresentation: pkcs8) {
            pkcs8 = Array(rsa.pkcs8DERRepresentation)
        }
        let svid = try X509SVID(certificates: [leaf.der], privateKeyPKCS8DER: pkcs8)
        #expect(svid.privateKey.publicKey == key.publicKey)
    }

    @Test("WAPI-19: a key that is not the leaf's, or not PKCS#8, is refused")
    func wrongKeys() throws {
        let pkcs8 = try self.leaf.pkcs8
        let other = try self.middle.pkcs8
        #expect(
            self.code { _ = try X509SVID(certificates: [self.leaf.der], privateKeyPKCS8DER: other) }
                == .privateKeyMismatch)
        let rsa = try _RSA.Signing.PrivateKey(keySize: .bits2048)
        for bytes in [
            [], [0x30, 0], Array(pkcs8.dropLast()), pkcs8 + [0], Array(rsa.derRepresentation),
        ] {
            #expect(
                self.code {
                    _ = try X509SVID(certificates: [self.leaf.der], privateKeyPKCS8DER: bytes)
                }
                    == .malformedPrivateKey)
        }
    }

    @Test("X509-15 X509-10 X509-05: a leaf that breaks the rules is not loaded")
    func selfCheck() throws {
        let cases: [(X509SVIDError.Code, CertificateShape)] = [
            (
                .keyUsage,
                .leaf("spiffe://acme.test/x") { $0.keyUsage = KeyUsage(keyAgreement: true) }
            ),
            (.noPath, .leaf("spiffe://acme.test")),
            (.certificateAuthority, .authority("m", id: "spiffe://acme.test/x")),
            (.noURIName, .leaf("spiffe://acme.test/x") { $0.names = [] }),
        ]
        for (want, shape) in cases {
            let leaf = try TestCertificate(shape, issuer: self.root)
            let pkcs8 = try leaf.pkcs8
            #expect(
                self.code { _ = try X509SVID(certificates: [leaf.der], privateKeyPKCS8DER: pkcs8) }
                    == want)
        }
        let pkcs8 = try self.leaf.pkcs8
        #expect(
            self.code { _ = try X509SVID(certificates: [], privateKeyPKCS8DER: pkcs8) }
                == .noCertificate)
    }

    @Test("neither description, debug description nor dump shows the key")
    func secrets() throws {
        let svid = try X509SVID(
            certificates: [self.leaf.der], privateKeyPKCS8DER: try self.leaf.pkcs8)
        var dumped = ""
        dump(svid, to: &dumped)
        for text in ["\(svid)", String(reflecting: svid), dumped] {
            #expect(text.contains("spiffe://acme.test/x"))
            #expect(text.count < 160)
        }
    }

    @Test("concatenated DER is cut apart, and one stray byte fails it")
    func split() throws {
        #expect(try DERChain.split([]) == [])
        #expect(try DERChain.split(self.leaf.der) == [self.leaf.der])
        #expect(
            try DERChain.split(self.leaf.der + self.middle.der) == [self.leaf.der, self.middle.der])
        let bad: [[UInt8]] = [
            self.leaf.der + [0], self.leaf.der + [0x0A] + self.middle.der,
            Array(self.leaf.der.dropLast()),
            [0x30], [0x31, 0], [0x30, 0x80, 0, 0], [0x30, 0x81, 0x01, 0], [0x30, 0x82, 0, 0x80],
            [0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], Array("-----BEGIN CERTIFICATE-----".utf8),
        ]
        for bytes in bad {
            #expect(self.code { _ = try DERChain.split(bytes) } == .malformedCertificate)
        }
    }

    @Test("cutting never crashes on any two bytes, nor on truncated or damaged chains")
    func splitRobustness() throws {
        for first in 0...255 {
            for second in 0...255 {
                _ = try? DERChain.split([UInt8(first), UInt8(second), 0, 0, 0])
            }
        }
        for length in self.leaf.der.indices {
            let part = Array(self.leaf.der[..<length])
            if length > 0 { #expect(throws: X509SVIDError.self) { try DERChain.split(part) } }
        }
    }

    @Test("X509Bundle keeps bytes and order, drops repetitions, and may be empty")
    func bundle() throws {
        let acme = try TrustDomain("acme.test")
        let bundle = try X509Bundle(
            trustDomain: acme, concatenatedDER: self.root.der + self.middle.der + self.root.der)
        #expect(bundle.authoritiesDER == [self.root.der, self.middle.der])
        #expect(bundle.authorities == [self.root.certificate, self.middle.certificate])
        #expect(bundle.concatenatedDER == self.root.der + self.middle.der)
        #expect(try X509Bundle(trustDomain: acme, concatenatedDER: []).authorities.isEmpty)
        #expect(
            self.code { _ = try X509Bundle(trustDomain: acme, authoritiesDER: [[1, 2, 3]]) }
                == .malformedCertificate)
        #expect(bundle.x509Bundle(for: acme) == bundle)
        #expect(bundle.x509Bundle(for: try TrustDomain("partner.test")) == nil)
        #expect(bundle != (try X509Bundle(trustDomain: acme, authoritiesDER: [self.root.der])))
    }
}
