package import SPIFFE

/// What verifiers are told of one trust domain: which of its SVIDs were taken back.
package struct TrustDomainLists: Sendable, Hashable {
    package var trustDomain: TrustDomain
    /// CertificateLists (RFC 5280), DER, by the ID of the X.509 authority that signed them.
    package var crls: [String: [UInt8]]
    /// Signed tokens, `application/statuslist+jwt`, by their URI.
    package var statusLists: [String: String]
    /// SHA-256 of the signing inputs of the JWT- and WIT-SVIDs that were taken back and have not expired; only of
    /// the own trust domain.
    package var revokedTokens: Set<[UInt8]>

    package init(
        trustDomain: TrustDomain, crls: [String: [UInt8]] = [:],
        statusLists: [String: String] = [:],
        revokedTokens: Set<[UInt8]> = []
    ) {
        self.trustDomain = trustDomain
        self.crls = crls
        self.statusLists = statusLists
        self.revokedTokens = revokedTokens
    }
}

/// Takes what verifiers are to be told, and says who has it. ``Directory`` is one: it tells the connected agents.
package protocol RevocationAudience: Sendable {
    /// Replaces what is told of the state's trust domain. Must not block.
    ///
    /// - Parameter number: grows with each call; agents that confirm this or a higher one have the state.
    func publish(_ revocations: TrustDomainLists, number: UInt64)
}
