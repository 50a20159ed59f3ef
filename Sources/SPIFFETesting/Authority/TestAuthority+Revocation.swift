public import Foundation
import NIOConcurrencyHelpers
public import SPIFFE
import SwiftASN1
import X509

extension TestAuthority {
    /// The name of this authority's status list, for the claim `status` of its tokens.
    public var statusListURI: String { "https://\(self.trustDomain.name)/statuslist" }

    // MARK: Taking back

    /// Takes an X509-SVID of the authority that is active now back: CRLs made from now on name it.
    ///
    /// - Parameters:
    ///   - svid: What it has issued, without intermediates.
    ///   - reason: The reason code of RFC 5280 §5.3.1; 0 gives none.
    public func revoke(_ svid: X509SVID, reason: Int = 0) {
        let serial = Array(svid.leaf.serialNumber.bytes)
        self.revocations.withLockedValue { $0.certificates[serial] = reason }
    }

    /// Takes a JWT-SVID back: by its digest, and in the status list when ``jwtSVID(_:audience:issuedAt:expiresAt:claims:hint:)``
    /// was given a place in it with ``statusClaim(_:)``.
    public func revoke(_ svid: JWTSVID, status: TokenStatus = .invalid) {
        self.revoke(token: svid.token, svid.claims, status)
    }

    /// Takes a WIT-SVID back; rules as for JWT-SVIDs. Incubating.
    public func revoke(_ svid: WITSVID, status: TokenStatus = .invalid) {
        self.revoke(token: svid.token, svid.claims, status)
    }

    /// Lifts all revocations.
    public func liftRevocations() { self.revocations.withLockedValue { $0 = TestRevocations() } }

    /// The claim that gives a token a place in the status list: `claims: ["status": authority.statusClaim(7)]`.
    public func statusClaim(_ index: UInt64) -> JSONValue {
        ["status_list": ["idx": .uint(index), "uri": .string(self.statusListURI)]]
    }

    private func revoke(token: String, _ claims: [String: JSONValue], _ status: TokenStatus) {
        let digest = TokenDigest.sha256(ofSigningInput: token)
        self.revocations.withLockedValue { revocations in
            revocations.tokens.insert(digest)
            guard let reference = try? TokenStatusReference.read(claims),
                reference.uri == self.statusListURI
            else { return }
            revocations.statuses[reference.index] = status
        }
    }

    // MARK: Lists

    /// A CRL of the active authority.
    ///
    /// - Parameters:
    ///   - thisUpdate: Nil is now.
    ///   - nextUpdate: Nil is ten minutes later. A time in the past makes one that is overdue.
    /// - Returns: DER.
    public func certificateRevocationList(
        thisUpdate: Date? = nil, nextUpdate: Date? = nil
    ) throws -> [UInt8] {
        let start = thisUpdate ?? Date()
        let (certificates, number) = self.revocations.withLockedValue { revocations in
            revocations.number += 1
            return (revocations.certificates, revocations.number)
        }
        return try self.activeIssuer.certificateRevocationList(
            certificates, number: number, thisUpdate: start,
            nextUpdate: nextUpdate ?? start + 600)
    }

    /// A status list token with two bits for each token, signed by the active JWT authority.
    ///
    /// - Parameters:
    ///   - issuedAt: Nil is now.
    ///   - expiresAt: Nil is ten minutes later.
    ///   - count: How many tokens have a place in it.
    /// - Returns: `application/statuslist+jwt`.
    public func statusList(
        issuedAt: Date? = nil, expiresAt: Date? = nil, count: Int = 1024
    ) throws -> String {
        let start = issuedAt ?? Date()
        var bytes = [UInt8](repeating: 0, count: max(0, count / 4))
        for (index, status) in self.revocations.withLockedValue({ $0.statuses }) {
            guard let place = Int(exactly: index / 4), place < bytes.count else { continue }
            bytes[place] |= (status.rawValue & 3) << UInt8(index % 4 * 2)
        }
        return try self.statusListSigner.sign(
            claims: JSONValue.object([
                "sub": .string(self.statusListURI),
                "iat": .int(Int64(start.timeIntervalSince1970)),
                "exp": .int(Int64((expiresAt ?? start + 600).timeIntervalSince1970)),
                "status_list": ["bits": 2, "lst": .string(StoredZlib.base64URL(bytes))],
            ]).serialized())
    }

    /// All that was taken back, as a source hands it out.
    public func trustDomainRevocations() throws -> TrustDomainRevocations {
        TrustDomainRevocations(
            trustDomain: self.trustDomain,
            certificateLists: [
                try CertificateRevocationList(der: try self.certificateRevocationList())
            ],
            statusLists: [
                try StatusList(
                    token: try self.statusList(), uri: self.statusListURI, bundle: self.jwtBundle)
            ],
            revokedTokens: self.revocations.withLockedValue { $0.tokens })
    }
}

/// What a test authority has taken back.
struct TestRevocations: Sendable {
    /// Reasons by the serial number's bytes.
    var certificates: [[UInt8]: Int] = [:]
    var tokens: Set<[UInt8]> = []
    var statuses: [UInt64: TokenStatus] = [:]
    var number: UInt64 = 0
}
