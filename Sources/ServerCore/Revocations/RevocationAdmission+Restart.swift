import NIOConcurrencyHelpers
import SPIFFE
package import Transparency

// What was live before a restart, and what had hit it.
extension RevocationAdmission {
    /// Takes over what the store knows of the hits of revocations; call it before the first
    /// ``restore(_:signingInputDigest:statusIndex:)``.
    ///
    /// - Parameter hits: as ``hitIdentities(of:)`` gave them, by revocation. A replacement that is not among them was
    ///   interrupted: it covers everything that comes back, for nobody knows what of it is fresh.
    package func restoreHits(_ hits: [String: [UInt8]]) {
        self.state.withLockedValue { state in
            state.restored.take(hits, revocations: state.index.ordered)
        }
    }

    /// Takes an SVID back in from its leaf, as ``restore(_:signingInputDigest:statusIndex:)``.
    package func restore(_ leaf: SVIDIssuedLeaf) {
        self.restore(
            leaf, signingInputDigest: leaf.signingInputDigest, statusIndex: leaf.statusIndex)
    }

    /// Takes an SVID back in that was issued before a restart; one that has expired is passed over. Call it before
    /// the first issuance, and ``finishRestoring()`` afterwards.
    ///
    /// - Parameters:
    ///   - signingInputDigest: of a token.
    ///   - statusIndex: its place in the status list.
    package func restore(
        _ leaf: SVIDIssuedLeaf, signingInputDigest: [UInt8]?, statusIndex: Int64?
    ) {
        let now = self.unixNow
        guard leaf.notAfter.milliseconds > (now - Self.leeway) * 1_000 else { return }
        var subject = IssuanceSubject(
            svidType: leaf.svidType, spiffeID: leaf.spiffeID, entryID: leaf.entryID,
            node: leaf.node, authorityID: leaf.authorityID)
        let entry = leaf.entryID.flatMap { id in self.directory.withEntries { $0.entry(id: id) } }
        subject.selectors = entry?.selectors ?? []
        let below = leaf.entryID.flatMap { self.directory.revocation(blockingEntry: $0, now: now) }
        let svid = SignedSVID(
            subject: subject, leaf: leaf, signingInputDigest: signingInputDigest,
            ticket: IssuanceTicket(
                status: statusIndex.map {
                    StatusReference(uri: self.statusListURI ?? "", index: $0)
                }))
        self.state.withLockedValue { state in
            guard let number = state.live.insert(svid), let row = state.live.rows[Int(number)]
            else {
                return
            }
            if let statusIndex, statusIndex >= 0 { state.restored.statuses.insert(statusIndex) }
            var covering = state.index.covering(
                subject, serial: leaf.serial, jti: leaf.jti,
                workloads: state.restored.incomplete.isEmpty ? 0 : .max
            ).filter {
                $0.blocks || state.restored.incomplete.contains($0.id)
            }
            if let below { covering.append(below) }
            for id in state.restored.revocations(of: row.identity) {
                if let found = state.index.revocation(id: id) { covering.append(found) }
            }
            for revocation in covering where revocation.isInForce(at: now) {
                _ = state.revoked.mark(number, row, by: revocation)
            }
        }
    }

    /// Ends the restoring: tokens get places in the status list that none of the restored ones has.
    package func finishRestoring() {
        let now = self.unixNow
        self.state.withLockedValue { state in
            state.statuses.restore(state.restored.statuses, now: now)
            state.restored = RestoredHits()
        }
        self.notify()
    }
}
