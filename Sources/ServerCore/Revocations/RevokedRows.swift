import Transparency

/// Which rows of ``LiveSVIDs`` are taken back, by which revocations, and the lists that follow from that, kept as they
/// change. A value without locks.
struct RevokedRows: Sendable {
    private struct Revoked: Sendable {
        var by: [String]
        /// Unix seconds of the first.
        var at: Int64
    }

    private var revoked: [UInt32: Revoked] = [:]
    private var byRevocation: [String: Set<UInt32>] = [:]
    private var reversible: Set<String> = []
    private var certificates: [UInt32: Set<UInt32>] = [:]
    /// Digests of signing inputs of tokens.
    private(set) var tokens: Set<[UInt8]> = []
    /// Places in the status list; false: suspended.
    private(set) var statuses: [Int64: Bool] = [:]

    var count: Int { self.revoked.count }

    /// The rows that a revocation hit and that have not expired.
    func rows(of revocationID: String) -> Set<UInt32> { self.byRevocation[revocationID] ?? [] }

    /// Which revocations hit a row.
    func revocations(of row: UInt32) -> [String] { self.revoked[row]?.by ?? [] }

    /// Whether a row is taken back by a revocation that no operator and no expiry ends.
    func isRevokedForGood(_ row: UInt32) -> Bool {
        self.revoked[row]?.by.contains { !self.reversible.contains($0) } ?? false
    }

    func isRevoked(_ row: UInt32) -> Bool { self.revoked[row] != nil }

    /// The X509-SVIDs of an authority that are taken back.
    func certificates(authority: UInt32, in live: LiveSVIDs) -> [RevokedCertificate] {
        (self.certificates[authority] ?? []).compactMap { number in
            guard let row = live.rows[Int(number)], let revoked = self.revoked[number] else {
                return nil
            }
            return RevokedCertificate(
                number: row.secret, revokedAt: revoked.at,
                isSuspended: self.isSuspended(revoked))
        }
    }

    /// - Returns: whether that is news.
    mutating func mark(
        _ number: UInt32, _ row: LiveSVIDs.Row, by revocation: Revocation
    ) -> Bool {
        var revoked = self.revoked[number] ?? Revoked(by: [], at: revocation.createdAt)
        guard !revoked.by.contains(revocation.id) else { return false }
        revoked.by.append(revocation.id)
        if revocation.isReversible { self.reversible.insert(revocation.id) }
        self.revoked[number] = revoked
        self.byRevocation[revocation.id, default: []].insert(number)
        if row.type == .x509 {
            self.certificates[row.authority, default: []].insert(number)
        } else {
            self.tokens.insert(row.secret.bytes)
            if row.statusIndex >= 0 {
                self.statuses[row.statusIndex] = !self.isSuspended(revoked)
            }
        }
        return true
    }

    /// Ends a revocation: what no other covers is valid again.
    ///
    /// - Returns: whether that changed anything.
    mutating func unmark(_ revocationID: String, in live: LiveSVIDs) -> Bool {
        guard let rows = self.byRevocation.removeValue(forKey: revocationID) else { return false }
        for number in rows {
            guard var revoked = self.revoked[number], let row = live.rows[Int(number)] else {
                continue
            }
            revoked.by.removeAll { $0 == revocationID }
            if revoked.by.isEmpty {
                self.forget(number, row)
            } else {
                self.revoked[number] = revoked
                if row.type != .x509, row.statusIndex >= 0 {
                    self.statuses[row.statusIndex] = !self.isSuspended(revoked)
                }
            }
        }
        self.reversible.remove(revocationID)
        return true
    }

    /// An SVID has expired: no list needs to name it any more.
    ///
    /// - Returns: whether it was taken back.
    mutating func expire(_ number: UInt32, _ row: LiveSVIDs.Row) -> Bool {
        guard let revoked = self.revoked[number] else { return false }
        for id in revoked.by {
            self.byRevocation[id]?.remove(number)
            if self.byRevocation[id]?.isEmpty == true { self.byRevocation[id] = nil }
        }
        self.forget(number, row)
        return true
    }

    private mutating func forget(_ number: UInt32, _ row: LiveSVIDs.Row) {
        self.revoked[number] = nil
        if row.type == .x509 {
            self.certificates[row.authority]?.remove(number)
            if self.certificates[row.authority]?.isEmpty == true {
                self.certificates[row.authority] = nil
            }
        } else {
            self.tokens.remove(row.secret.bytes)
            if row.statusIndex >= 0 { self.statuses[row.statusIndex] = nil }
        }
    }

    private func isSuspended(_ revoked: Revoked) -> Bool {
        revoked.by.allSatisfy(self.reversible.contains)
    }
}
