import Foundation
import SPIFFE
import SwiftASN1
import Testing
import X509

@Suite("PEM") struct PEMTests {
    private let leaf: TestCertificate
    private let root: TestCertificate
    private let trustDomain: TrustDomain

    init() throws {
        self.trustDomain = try TrustDomain("acme.test")
        self.root = try TestCertificate(.authority("root"))
        self.leaf = try TestCertificate(.leaf("spiffe://acme.test/web"), issuer: self.root)
    }

    private func pem(_ type: String, _ der: [UInt8]) -> String {
        PEMDocument(type: type, derBytes: der).pemString + "\n"
    }

    @Test("An SVID and a bundle are read as they were written")
    func roundTrip() throws {
        let svid = try X509SVID(
            certificates: [self.leaf.der, self.root.der], privateKeyPKCS8DER: try self.leaf.pkcs8,
            hint: "h")
        let again = try X509SVID(
            certificatesPEM: svid.certificatesPEM, privateKeyPEM: svid.privateKeyPEM, hint: "h")
        #expect(again == svid)
        // All of it in one file, as some programs keep it.
        let one = svid.privateKeyPEM + svid.certificatesPEM
        #expect(try X509SVID(certificatesPEM: one, privateKeyPEM: one, hint: "h") == svid)
        let bundle = try X509Bundle(
            trustDomain: self.trustDomain, authoritiesDER: [self.root.der, self.leaf.der])
        #expect(try X509Bundle(trustDomain: self.trustDomain, pem: bundle.pem) == bundle)
        let empty = try X509Bundle(trustDomain: self.trustDomain, pem: "")
        #expect(empty.authorities.isEmpty && empty.pem.isEmpty)
    }

    @Test("No key, two keys, keys of another form and text that is no PEM are refused")
    func refused() throws {
        let certificate = self.pem("CERTIFICATE", self.leaf.der)
        let key = self.pem("PRIVATE KEY", try self.leaf.pkcs8)
        let rows: [(String, String, X509SVIDError.Code)] = [
            (certificate, "", .malformedPrivateKey), (certificate, key + key, .malformedPrivateKey),
            (certificate, self.pem("EC PRIVATE KEY", [1, 2, 3]), .malformedPrivateKey),
            (certificate, self.pem("PRIVATE KEY", [1, 2, 3]), .malformedPrivateKey),
            ("", key, .noCertificate), (key, key, .noCertificate),
            (self.pem("CERTIFICATE", [1, 2, 3]), key, .malformedCertificate),
            (
                "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", key,
                .malformedCertificate
            ),
        ]
        for (certificates, key, code) in rows {
            let error = try #require(throws: X509SVIDError.self) {
                try X509SVID(certificatesPEM: certificates, privateKeyPEM: key)
            }
            #expect(error.code == code)
            #expect(!error.message.contains("BEGIN"))
        }
    }
}
