import NIOConcurrencyHelpers
import SPIFFE
import Transparency

// Which SVIDs revocations hit.
extension RevocationAdmission {
    /// What has taken back the X509-SVID with that serial number; of several, one that blocks.
    package func revocation(ofSerial serial: String) -> Revocation? {
        self.state.withLockedValue { state in
            if state.index.isEmpty { return nil }
            var replacement: Revocation?
            for row in state.live.rows(serial: serial) {
                for id in state.revoked.revocations(of: row) {
                    guard let found = state.index.revocation(id: id) else { continue }
                    if found.blocks { return found }
                    replacement = found
                }
            }
            return replacement
        }
    }

    /// What a revocation hits now, or would hit.
    package func hits(_ revocation: Revocation) -> RevocationHits {
        let now = self.unixNow
        let below =
            revocation.coversEntriesBelow ? self.directory.entryIDs(coveredBy: revocation) : []
        var hits = RevocationHits()
        let ids = self.state.withLockedValue { state -> Set<SPIFFEID> in
            var subjects: Set<UInt32> = []
            for number in state.live.rows(revocation, entryIDs: below) {
                guard let row = state.live.rows[Int(number)], row.expiresAt > now else { continue }
                switch row.type {
                case .x509: hits.x509SVIDs += 1
                case .jwt: hits.jwtSVIDs += 1
                case .wit: hits.witSVIDs += 1
                }
                subjects.insert(row.subject)
            }
            return Set(subjects.compactMap { state.live.subjects[$0]?.spiffeID })
        }
        hits.spiffeIDCount = ids.count
        hits.spiffeIDs = Array(ids.sorted().prefix(RevocationHits.maxNamed))
        // Covers neither, and is asked about often.
        if revocation.target.kind == .workload { return hits }
        let covered = self.directory.count(coveredBy: revocation)
        hits.entries = covered.entries
        hits.agents = covered.agents
        return hits
    }

    /// Which SVIDs a revocation has hit: 16 bytes for each, one after the other. For the store, from which
    /// ``restoreHits(_:)`` takes them.
    package func hitIdentities(of revocationID: String) -> [UInt8] {
        self.state.withLockedValue { state in
            state.revoked.rows(of: revocationID).flatMap { number in
                state.live.rows[Int(number)]?.identity.bytes ?? []
            }
        }
    }

    /// Whether a revocation would hit an SVID that is live and not taken back for good already.
    package func hitsAnythingNew(_ revocation: Revocation) -> Bool {
        let now = self.unixNow
        return self.state.withLockedValue { state in
            state.live.rows(revocation).contains { number in
                guard let row = state.live.rows[Int(number)], row.expiresAt > now else {
                    return false
                }
                return !state.revoked.isRevokedForGood(number)
            }
        }
    }

    /// Those of the revocations of which everything that they hit has expired.
    package func withoutHits(_ revocationIDs: [String]) -> [String] {
        self.state.withLockedValue { state in
            revocationIDs.filter { state.revoked.rows(of: $0).isEmpty }
        }
    }

    /// How many live SVIDs an entry has, whoever holds them.
    package func liveCount(ofEntry id: String) -> Int {
        self.state.withLockedValue { state in
            state.live.subjects.numbers(entryID: id).reduce(0) {
                $0 + (state.live.subjects[$1]?.count ?? 0)
            }
        }
    }
}
