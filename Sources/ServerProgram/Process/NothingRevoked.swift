import ServerCore

/// A trust domain in which nothing was taken back.
struct NothingRevoked: RevokedSVIDs {
    func revokedCertificates(authorityID: String) -> [RevokedCertificate] { [] }
    func revokedTokens() -> Set<[UInt8]> { [] }
    func revokedStatuses() -> [Int64: Bool] { [:] }
    func onChange(_ body: @escaping @Sendable () -> Void) {}
}

/// Nobody is told; the lists are there for whoever fetches them.
struct NoAudience: RevocationAudience {
    func publish(_ revocations: TrustDomainRevocations, number: UInt64) {}
}
