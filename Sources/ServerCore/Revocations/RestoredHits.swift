/// What the store knows of SVIDs from before a restart, until they have come back. A value without locks.
struct RestoredHits: Sendable {
    /// What replacements and others hit: revocations by SVID.
    private var stored: [Bytes16: [String]] = [:]
    /// Revocations of which that is not known.
    private(set) var incomplete: Set<String> = []
    /// Places in the status list that tokens have which came back.
    var statuses: Set<Int64> = []

    /// Revocations that hit an SVID, as far as that is known.
    func revocations(of identity: Bytes16) -> [String] { self.stored[identity] ?? [] }

    /// - Parameters:
    ///   - hits: 16 bytes for each SVID, one after the other, by revocation.
    ///   - revocations: All that there are; of those that are not among `hits` it is not known what they hit.
    mutating func take(_ hits: [String: [UInt8]], revocations: [Revocation]) {
        for revocation in revocations where hits[revocation.id] == nil {
            self.incomplete.insert(revocation.id)
        }
        for (id, bytes) in hits {
            for start in stride(from: 0, to: bytes.count - bytes.count % 16, by: 16) {
                self.stored[Bytes16(bytes[start..<start + 16]), default: []].append(id)
            }
        }
    }

    /// A revocation is no more.
    mutating func forget(_ revocationID: String) { self.incomplete.remove(revocationID) }
}
