public import Foundation
import SwiftASN1
public import X509

/// An X509-SVID with its private key: what a workload presents.
///
/// Valid by construction: the leaf keeps every rule of X509-SVID for leaves and the key is the leaf's.
/// Whether anybody trusts the chain, and whether it is still in time, is not part of this.
public struct X509SVID: Sendable, Equatable {
    /// The identity, from the leaf's one URI name.
    public let id: SPIFFEID
    /// The leaf, then the signing certificates above it in order; without the root.
    public let certificates: [Certificate]
    /// The bytes that ``certificates`` were read from, in the same order.
    public let certificateChainDER: [[UInt8]]
    /// The leaf's private key.
    public let privateKey: Certificate.PrivateKey
    /// The private key as it was given: PKCS#8, unencrypted, DER. Never log it.
    public let privateKeyDER: [UInt8]
    /// What the operator says this identity is for; empty when nothing.
    public let hint: String

    /// Reads an X509-SVID as the Workload API sends it.
    ///
    /// - Parameters:
    ///   - certificateChainDER: Certificates in DER one after the other, the leaf first.
    ///   - privateKeyPKCS8DER: Unencrypted PKCS#8; SEC1 and PKCS#1 are refused.
    ///   - hint: What the operator says the identity is for; empty when nothing.
    /// - Throws: ``X509SVIDError`` with the first rule broken.
    public init(
        certificateChainDER: [UInt8], privateKeyPKCS8DER: [UInt8], hint: String = ""
    ) throws(X509SVIDError) {
        try self.init(
            certificates: try DERChain.split(certificateChainDER),
            privateKeyPKCS8DER: privateKeyPKCS8DER, hint: hint)
    }

    /// Reads an X509-SVID from separate certificates, the leaf first.
    ///
    /// - Throws: ``X509SVIDError`` with the first rule broken.
    public init(
        certificates: [[UInt8]], privateKeyPKCS8DER: [UInt8], hint: String = ""
    ) throws(X509SVIDError) {
        let chain = try X509SVIDVerifier.parse(certificates)
        self.id = try CertificateProfile(chain[0], der: certificates[0]).checkLeaf()
        do {
            self.privateKey = try Certificate.PrivateKey(derBytes: privateKeyPKCS8DER)
        } catch {
            // The cause may quote key bytes; it is left out.
            throw X509SVIDError(
                .malformedPrivateKey,
                "private key of X509-SVID \(self.id) cannot be read; expected unencrypted PKCS#8 in DER"
            )
        }
        guard self.privateKey.publicKey == chain[0].publicKey else {
            throw X509SVIDError(
                .privateKeyMismatch,
                "private key of X509-SVID \(self.id) does not belong to its leaf")
        }
        self.certificates = chain
        self.certificateChainDER = certificates
        self.privateKeyDER = privateKeyPKCS8DER
        self.hint = hint
    }

    /// The leaf's notAfter.
    public var expiresAt: Date { self.certificates[0].notValidAfter }

    /// The leaf's notBefore.
    public var notBefore: Date { self.certificates[0].notValidBefore }

    /// The leaf.
    public var leaf: Certificate { self.certificates[0] }

    /// The chain as the Workload API carries it: one certificate after the other.
    public var concatenatedDER: [UInt8] { Array(self.certificateChainDER.joined()) }

    public static func == (left: X509SVID, right: X509SVID) -> Bool {
        left.certificateChainDER == right.certificateChainDER
            && left.privateKeyDER == right.privateKeyDER
            && left.hint.utf8.elementsEqual(right.hint.utf8)
    }
}

extension X509SVID: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The identity only, so that a key cannot get into a log by way of a description.
    public var description: String { "X509SVID(\(self.id))" }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror { Mirror(self, children: ["id": self.id]) }
}

/// Where the identity that a program presents comes from; asked at each handshake, so that a rotated
/// X509-SVID is used without restart.
public protocol X509SVIDSource: Sendable {
    /// The X509-SVID to present now. Must not block.
    ///
    /// - Throws: When there is none; the handshake fails with it.
    func x509SVID() throws -> X509SVID
}

extension X509SVID: X509SVIDSource {
    /// Itself: the source of one identity that never changes.
    public func x509SVID() -> X509SVID { self }
}
