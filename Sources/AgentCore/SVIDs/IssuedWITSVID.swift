package import SPIFFE

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// A WIT-SVID that the agent holds for workloads, with its key, in the form in which it is handed out.
///
/// Immutable and shared, like ``IssuedX509SVID``. It belongs to one entry: workloads of other entries get keys
/// of their own, instances of the same workload on this node the same.
package final class IssuedWITSVID: Sendable {
    package let spiffeID: SPIFFEID
    package let token: String
    /// The private key as a JWK. A secret.
    package let privateJWK: String
    package let issuedAt: Date
    package let expiresAt: Date
    /// Key ID of the authority that signed it.
    package let keyID: String

    /// Takes over what the server signed, after checking that it is what was asked for.
    ///
    /// - Throws: ``AgentError`` `badIssuance` when the token is malformed, for another identity or bound to
    ///   another key, or has expired.
    package init(
        token: String, key: ProofKey, expectedID: SPIFFEID, receivedAt: Date
    ) throws(AgentError) {
        func bad(_ reason: String) -> AgentError {
            AgentError(
                .badIssuance, "WIT-SVID from the server for \(expectedID) refused: \(reason)")
        }
        let svid: WITSVID
        let privateJWK: String
        do throws(WITSVIDError) { svid = try WITSVID(token: token, proofKey: key) } catch {
            throw bad(error.message)
        }
        do throws(JOSEError) { privateJWK = try key.privateJWK() } catch {
            throw bad(error.message)
        }
        guard svid.id == expectedID else { throw bad("it is for \(svid.id)") }
        guard svid.expiresAt > receivedAt else { throw bad("it has expired") }
        self.spiffeID = expectedID
        self.token = token
        self.privateJWK = privateJWK
        self.issuedAt = min(svid.issuedAt ?? receivedAt, receivedAt)
        self.expiresAt = svid.expiresAt
        self.keyID = svid.keyID
    }
}
