package import SPIFFE
import SwiftASN1
package import X509

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// An X509-SVID that the agent holds for workloads, in the form in which it is handed out.
///
/// Immutable and shared: views and streams refer to it, nobody copies it.
package final class IssuedX509SVID: Sendable {
    package let spiffeID: SPIFFEID
    /// Certificates back to back in DER, leaf first, no root.
    package let chainDER: [UInt8]
    /// Unencrypted PKCS#8, DER.
    package let privateKeyDER: [UInt8]
    package let notBefore: Date
    package let expiresAt: Date
    /// Lower-case hexadecimal, for logs.
    package let serialNumber: String
    /// Key ID of the authority at the top of the chain; nil when the chain does not name it.
    let authorityKeyID: [UInt8]?
    /// By which a list of revoked certificates knows it.
    let revocationName: RevocationName

    /// Takes over what the server signed, after checking that it is what was asked for.
    ///
    /// - Parameters:
    ///   - chain: One certificate per element, leaf first.
    ///   - expectedID: The SPIFFE ID of the entry.
    /// - Throws: ``AgentError`` `badIssuance` when the chain is malformed, for another identity or
    ///   another key.
    package init(
        chain: [[UInt8]], key: WorkloadKey, expectedID: SPIFFEID
    ) throws(AgentError) {
        func bad(_ reason: String) -> AgentError {
            AgentError(
                .badIssuance, "X509-SVID from the server for \(expectedID) refused: \(reason)")
        }
        guard let leafDER = chain.first else { throw bad("the chain is empty") }
        let leaf: Certificate
        let top: Certificate
        do {
            leaf = try Certificate(derEncoded: leafDER)
            top = chain.count == 1 ? leaf : try Certificate(derEncoded: chain[chain.count - 1])
        } catch {
            throw bad("a certificate cannot be parsed: \(error)")
        }
        guard Self.uriNames(of: leaf) == [expectedID.string] else {
            throw bad("its URI SAN is not exactly that ID")
        }
        guard leaf.publicKey == key.privateKey.publicKey else {
            throw bad("it carries another public key than was asked for")
        }
        self.spiffeID = expectedID
        self.chainDER = Array(chain.joined())
        self.privateKeyDER = key.pkcs8DER
        self.notBefore = leaf.notValidBefore
        self.expiresAt = leaf.notValidAfter
        self.serialNumber = leaf.serialNumber.bytes.reduce(into: "") { text, byte in
            text += byte < 16 ? "0" + String(byte, radix: 16) : String(byte, radix: 16)
        }
        self.revocationName = RevocationName(leaf)
        let authority = try? top.extensions.authorityKeyIdentifier
        self.authorityKeyID = authority?.keyIdentifier.map { Array($0) }
    }

    /// The URI names in the certificate's subject alternative name.
    package static func uriNames(of certificate: Certificate) -> [String] {
        guard let names = try? certificate.extensions.subjectAlternativeNames else { return [] }
        return names.compactMap { name in
            if case .uniformResourceIdentifier(let uri) = name { uri } else { nil }
        }
    }
}

/// A JWT-SVID that the agent holds for a workload.
package struct IssuedJWTSVID: Hashable, Sendable {
    package var spiffeID: SPIFFEID
    package var token: String
    package var issuedAt: Date
    package var expiresAt: Date
    /// The key it was signed with; nil when the token does not say.
    package var keyID: String?

    package init(
        spiffeID: SPIFFEID, token: String, issuedAt: Date, expiresAt: Date, keyID: String? = nil
    ) {
        self.spiffeID = spiffeID
        self.token = token
        self.issuedAt = issuedAt
        self.expiresAt = expiresAt
        self.keyID = keyID
    }
}
