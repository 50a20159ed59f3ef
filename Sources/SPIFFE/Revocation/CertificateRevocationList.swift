public import Foundation
import NIOConcurrencyHelpers
public import X509

/// A certificate revocation list: the certificates that an X.509 authority has taken back.
///
/// Only complete lists of version 2 in DER are read: no deltas, none for a part of an issuer's certificates, none with
/// critical extensions that are not understood. Reading a list proves nothing: ask ``isSigned(by:)``, or leave all of it
/// to an ``X509SVIDVerifier``.
/// - SeeAlso: RFC 5280 §5.
public struct CertificateRevocationList: Sendable {
    /// The most bytes that a list may have. Agents of Cygnet take as much.
    public static let maximumLength = 32 * 1024 * 1024
    /// The most certificates that a list may name; in memory each takes 40 bytes beside its place in the list.
    public static let maximumEntries = 1_000_000

    /// Why a certificate was taken back.
    public struct Entry: Sendable, Hashable {
        /// When, UTC.
        public let revokedAt: Date
        /// The reason code of RFC 5280 §5.3.1; 0 when none is given. 6, `certificateHold`, can be lifted.
        public let reason: Int
    }

    /// The name of the authority that issued the list and the certificates in it.
    public let issuer: DistinguishedName
    /// When the list was made, UTC.
    public let thisUpdate: Date
    /// When the next one is due at the latest, UTC.
    public let nextUpdate: Date
    /// The list as it was read.
    public let der: [UInt8]
    /// How many certificates it names.
    public var count: Int { self.content.serials.count }

    private let content: CRLContent
    private let signatures = SignatureMemory()

    /// Reads a list.
    ///
    /// - Parameter der: One `CertificateList`, and nothing behind it.
    /// - Throws: ``RevocationListError`` `malformed`, `tooLarge` or `unsupported`.
    public init(der: [UInt8]) throws(RevocationListError) {
        self.content = try CRLContent(der)
        self.issuer = self.content.issuer
        self.thisUpdate = Date(timeIntervalSince1970: TimeInterval(self.content.thisUpdate))
        self.nextUpdate = Date(timeIntervalSince1970: TimeInterval(self.content.nextUpdate))
        self.der = der
    }

    /// Whether the list names this certificate of its issuer.
    public func contains(_ serialNumber: Certificate.SerialNumber) -> Bool {
        self.entry(for: serialNumber) != nil
    }

    /// What the list says about a certificate of its issuer; nil when it is not taken back.
    public func entry(for serialNumber: Certificate.SerialNumber) -> Entry? {
        guard let serial = SerialNumber(magnitude: serialNumber.bytes),
            let entry = self.content.serials.entry(serial)
        else { return nil }
        return Entry(
            revokedAt: Date(timeIntervalSince1970: TimeInterval(entry.revokedAt)),
            reason: Int(entry.reason))
    }

    /// Whether this authority has signed the list, and may sign lists (`cRLSign`).
    ///
    /// The outcome is remembered for each authority, so that it costs a signature check once and not at each handshake.
    public func isSigned(by authority: Certificate) -> Bool {
        guard self.isNamed(authority) else { return false }
        return self.signatures.outcome(for: authority) {
            guard let keyUsage = try? authority.extensions.keyUsage, !keyUsage.cRLSign else {
                return authority.publicKey.isValidSignature(
                    self.content.signature, for: self.content.signed,
                    signatureAlgorithm: self.content.algorithm)
            }
            return false
        }
    }

    /// Whether the list says that this authority issued it; the signature is not looked at.
    package func isNamed(_ authority: Certificate) -> Bool {
        guard authority.subject == self.issuer else { return false }
        guard let wanted = self.content.authorityKeyIdentifier,
            let own = (try? authority.extensions.subjectKeyIdentifier)?.keyIdentifier
        else { return true }
        return wanted.elementsEqual(own)
    }

    /// The key identifier of the authority that the list names; nil when it names none.
    package var authorityKeyIdentifier: [UInt8]? {
        self.content.authorityKeyIdentifier.map(Array.init)
    }

    /// Whether the list names a serial number, big-endian; zeros in front do not count.
    package func contains(serialNumber bytes: [UInt8]) -> Bool {
        SerialNumber(magnitude: bytes[...]).map { self.content.serials.entry($0) != nil } ?? false
    }

    /// Whether this list says more recent things than another one of the same issuer.
    package func isNewer(than other: CertificateRevocationList) -> Bool {
        if self.content.thisUpdate != other.content.thisUpdate {
            return self.content.thisUpdate > other.content.thisUpdate
        }
        guard let number = self.content.number else { return false }
        guard let otherNumber = other.content.number else { return true }
        return number > otherNumber
    }

    /// The list's number, which grows with each list of an issuer (RFC 5280 §5.2.3); nil without one.
    package var number: CRLNumber? { self.content.number.map(CRLNumber.init) }

    /// Whether both are lists of one issuer, by name and key identifier.
    package func hasIssuer(of other: CertificateRevocationList) -> Bool {
        guard self.issuer == other.issuer else { return false }
        guard let own = self.content.authorityKeyIdentifier,
            let others = other.content.authorityKeyIdentifier
        else { return true }
        return own.elementsEqual(others)
    }
}

/// The number of a CRL: not negative, of at most 20 octets.
package struct CRLNumber: Comparable, Hashable, Sendable {
    private let value: SerialNumber

    init(_ value: SerialNumber) { self.value = value }

    package static func < (left: CRLNumber, right: CRLNumber) -> Bool { left.value < right.value }
}

/// What was found out about a list's signature, for each authority that it was held against.
private final class SignatureMemory: Sendable {
    /// A list has one issuer; more are asked about only when several authorities have its name.
    private static let capacity = 256
    private let outcomes = NIOLockedValueBox<[Certificate: Bool]>([:])

    func outcome(for authority: Certificate, _ check: () -> Bool) -> Bool {
        if let known = self.outcomes.withLockedValue({ $0[authority] }) { return known }
        let isGood = check()
        self.outcomes.withLockedValue { outcomes in
            // What is good stays: no crowd of others is to push it out.
            if outcomes.count >= Self.capacity { outcomes = outcomes.filter(\.value) }
            if outcomes.count < Self.capacity || isGood { outcomes[authority] = isGood }
        }
        return isGood
    }
}
