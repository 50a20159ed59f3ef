extension TrustBundle {
    /// Whether the authority of a journal entry is in the bundle.
    func contains(_ entry: JournalEntry) -> Bool {
        switch entry.kind {
        case .x509: self.x509Authorities.contains { $0.der == entry.der }
        case .jwt: self.jwtAuthorities.contains { $0.keyID == entry.authorityID }
        case .wit: self.witAuthorities.contains { $0.keyID == entry.authorityID }
        }
    }

    /// Adds the authority of a journal entry, unless it is there.
    mutating func add(_ entry: JournalEntry) {
        guard !self.contains(entry) else { return }
        switch entry.kind {
        case .x509: self.x509Authorities.append(.init(der: entry.der))
        case .jwt:
            self.jwtAuthorities.append(
                .init(
                    keyID: entry.authorityID, publicKeyDER: entry.der, expiresAt: entry.notAfter))
        case .wit:
            self.witAuthorities.append(
                .init(
                    keyID: entry.authorityID, publicKeyDER: entry.der, expiresAt: entry.notAfter))
        }
    }
}
