import Foundation
import SwiftASN1
import X509

/// A certificate that may issue others, with what path validation needs of it read once.
struct SigningCertificate: Sendable {
    let certificate: Certificate
    let der: [UInt8]
    let subject: DistinguishedName
    let issuer: DistinguishedName
    let keyIdentifier: ArraySlice<UInt8>?
    let hasNameConstraints: Bool
    private let notBefore: Date
    private let notAfter: Date
    /// How many more signing certificates may follow below; nil for any number.
    private let maximumPathLength: Int?
    /// Why it may not issue anything, when it may not.
    private let refusal: X509SVIDError?

    init(_ certificate: Certificate, der: [UInt8]) {
        self.certificate = certificate
        self.der = der
        self.subject = certificate.subject
        self.issuer = certificate.issuer
        self.keyIdentifier = (try? certificate.extensions.subjectKeyIdentifier)?.keyIdentifier
        self.notBefore = certificate.notValidBefore
        self.notAfter = certificate.notValidAfter
        var hasNameConstraints = false
        var maximumPathLength: Int?
        var refusal: X509SVIDError?
        do throws(X509SVIDError) {
            let profile = try CertificateProfile(certificate, der: der)
            hasNameConstraints = profile.hasNameConstraints
            maximumPathLength = try profile.checkSigner()
        } catch {
            refusal = error
        }
        self.hasNameConstraints = hasNameConstraints
        self.maximumPathLength = maximumPathLength
        self.refusal = refusal
    }

    /// Self-issued certificates do not count against a path length (RFC 5280 §4.2.1.9).
    var isSelfIssued: Bool { self.subject == self.issuer }

    /// Whether it may issue at this time, with so many signing certificates below it.
    func check(at now: Date, signersBelow: Int) throws(X509SVIDError) {
        if let refusal = self.refusal { throw refusal }
        if now < self.notBefore {
            throw X509SVIDError(.notYetValid, "issuer \(self.name) is not valid yet")
        }
        if now > self.notAfter {
            throw X509SVIDError(.expired, "issuer \(self.name) has expired")
        }
        if let maximum = self.maximumPathLength, signersBelow > maximum {
            throw X509SVIDError(
                .pathLength,
                "issuer \(self.name) allows \(maximum) signing certificates below it; the chain has \(signersBelow)"
            )
        }
    }

    /// Whether both are the same entity with the same key, by RFC 4158 §5.2: a path never needs both.
    func isSameEntity(as other: Certificate) -> Bool {
        self.subject == other.subject && self.certificate.publicKey == other.publicKey
    }

    private var name: String { SPIFFEIDError.quoted(String(describing: self.subject)) }
}
