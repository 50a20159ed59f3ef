import SPIFFE
import Transparency

/// Every SVID that was issued and has not expired, as a compact table with ways into it.
///
/// A value without locks; ``RevocationAdmission`` owns the one instance. A row takes some 150 bytes: names are kept once, serial
/// numbers and digests as fixed bytes. The SVIDs of an ID, an entry or an agent hang together in lists, so that finding
/// them costs what there is of them; those of a path, a selector or an authority are found by a walk.
struct LiveSVIDs: Sendable {
    static let none = UInt32.max

    struct Row: Sendable {
        var type: LeafSVIDType
        /// The first half of the SVID's SHA-256: which SVID it is, also after a restart.
        var identity: Bytes16
        /// The serial number of an X509-SVID, the digest of a token's signing input.
        var secret: Bytes32
        var jti: Bytes16?
        var expiresAt: Int64
        var statusIndex: Int64
        var subject: UInt32
        var node: UInt32
        var authority: UInt32
        /// Neighbours among the SVIDs of the subject, and of the node.
        var previousOfSubject = LiveSVIDs.none
        var nextOfSubject = LiveSVIDs.none
        var previousOfNode = LiveSVIDs.none
        var nextOfNode = LiveSVIDs.none
    }

    private struct OfNode: Sendable {
        var firstRow = LiveSVIDs.none
        var counts = LiveCounts()
    }

    private(set) var rows: [Row?] = []
    private var free: [UInt32] = []
    private(set) var subjects = LiveSubjects()
    private var bySerial = SlotTable()
    private var byJTI = SlotTable()
    private var byIdentity = SlotTable()
    private var authorities = Names<String>()
    private var nodes = Names<SPIFFEID>()
    /// What each node has, by its number.
    private var ofNode: [UInt32: OfNode] = [:]
    /// How many SVIDs of each subject were issued through each node: both numbers in one.
    private var ofPair: [UInt64: LiveCounts] = [:]
    /// Rows by the second at which they expire.
    private var expiring: [Int64: [UInt32]] = [:]
    /// Everything that expires at or before that second is gone or among `due`.
    private var prunedTo = Int64.min
    private var due: [UInt32] = []
    private(set) var count = 0

    /// Whether the SVID is there: signatures of RSA give the same token twice within a second.
    func contains(_ svid: SignedSVID) -> Bool {
        self.row(identity: Bytes16(svid.leaf.svidDigest)) != nil
    }

    // MARK: Changing

    /// Enters an SVID.
    ///
    /// - Returns: its row; nil when it has expired already, or is there.
    mutating func insert(_ svid: SignedSVID) -> UInt32? {
        let leaf = svid.leaf
        // Rounded up: it is live to the end of its last second.
        let milliseconds = leaf.notAfter.milliseconds
        let expiresAt = milliseconds / 1_000 + (milliseconds % 1_000 > 0 ? 1 : 0)
        guard expiresAt > self.prunedTo, self.row(identity: Bytes16(leaf.svidDigest)) == nil else {
            return nil
        }
        let secret =
            leaf.svidType == .x509
            ? leaf.serial.flatMap { Bytes32(hexNumber: $0) }
            : svid.signingInputDigest.map(Bytes32.init)
        let subject = self.subjects.number(svid.subject)
        var row = Row(
            type: leaf.svidType, identity: Bytes16(leaf.svidDigest), secret: secret ?? Bytes32([]),
            jti: leaf.jti.map { Self.digest($0) }, expiresAt: expiresAt,
            statusIndex: svid.status?.index ?? -1, subject: subject,
            node: svid.subject.node.map { self.nodes.number($0) } ?? Self.none,
            authority: self.authorities.number(svid.subject.authorityID))
        let number = self.free.popLast() ?? UInt32(self.rows.count)
        row.nextOfSubject = self.subjects[subject]?.firstRow ?? Self.none
        if row.node != Self.none {
            row.nextOfNode = self.ofNode[row.node]?.firstRow ?? Self.none
        }
        if Int(number) == self.rows.count { self.rows.append(nil) }
        self.rows[Int(number)] = row
        if row.nextOfSubject != Self.none {
            self.rows[Int(row.nextOfSubject)]?.previousOfSubject = number
        }
        self.subjects[subject]?.firstRow = number
        self.subjects[subject]?.count += 1
        if row.node != Self.none {
            if row.nextOfNode != Self.none {
                self.rows[Int(row.nextOfNode)]?.previousOfNode = number
            }
            let isToken = row.type != .x509
            self.ofNode[row.node, default: OfNode()].firstRow = number
            self.ofNode[row.node]?.counts.add(isToken: isToken)
            self.ofPair[Self.pair(row.node, subject), default: LiveCounts()].add(isToken: isToken)
        }
        if row.type == .x509 { self.bySerial.insert(number, hash: Self.hash(row.secret.second)) }
        if let jti = row.jti { self.byJTI.insert(number, hash: Self.hash(jti)) }
        self.byIdentity.insert(number, hash: Self.hash(row.identity))
        self.expiring[expiresAt, default: []].append(number)
        self.count += 1
        return number
    }

    /// Takes out SVIDs that have expired.
    ///
    /// - Parameter limit: at most so many, so that nobody waits long for it.
    /// - Returns: their rows.
    mutating func prune(now: Int64, limit: Int = .max) -> [(number: UInt32, row: Row)] {
        // A clock that was ahead for a moment and was set back.
        if now < self.prunedTo { self.prunedTo = now }
        if now > self.prunedTo {
            let from = self.prunedTo
            self.prunedTo = now
            // After a jump of the clock there are more seconds than rows.
            if from == .min || now - from > Int64(self.expiring.count) {
                for second in self.expiring.keys.filter({ $0 <= now }) {
                    self.due += self.expiring.removeValue(forKey: second) ?? []
                }
            } else {
                for second in (from + 1)...now {
                    self.due += self.expiring.removeValue(forKey: second) ?? []
                }
            }
        }
        var gone: [(UInt32, Row)] = []
        while gone.count < limit, let number = self.due.popLast() {
            if let row = self.remove(number) { gone.append((number, row)) }
        }
        return gone
    }

    private mutating func remove(_ number: UInt32) -> Row? {
        guard let row = self.rows[Int(number)] else { return nil }
        if row.previousOfSubject != Self.none {
            self.rows[Int(row.previousOfSubject)]?.nextOfSubject = row.nextOfSubject
        } else {
            self.subjects[row.subject]?.firstRow = row.nextOfSubject
        }
        if row.nextOfSubject != Self.none {
            self.rows[Int(row.nextOfSubject)]?.previousOfSubject = row.previousOfSubject
        }
        self.subjects[row.subject]?.count -= 1
        if self.subjects[row.subject]?.count == 0 { self.subjects.remove(row.subject) }
        if row.node != Self.none { self.leaveNode(row) }
        if row.type == .x509 { self.bySerial.remove(number, hash: Self.hash(row.secret.second)) }
        if let jti = row.jti { self.byJTI.remove(number, hash: Self.hash(jti)) }
        self.byIdentity.remove(number, hash: Self.hash(row.identity))
        self.rows[Int(number)] = nil
        self.free.append(number)
        self.count -= 1
        return row
    }

    private mutating func leaveNode(_ row: Row) {
        let isToken = row.type != .x509
        let pair = Self.pair(row.node, row.subject)
        self.ofPair[pair]?.remove(isToken: isToken)
        if self.ofPair[pair]?.isEmpty == true { self.ofPair[pair] = nil }
        self.ofNode[row.node]?.counts.remove(isToken: isToken)
        if row.nextOfNode != Self.none {
            self.rows[Int(row.nextOfNode)]?.previousOfNode = row.previousOfNode
        }
        if row.previousOfNode != Self.none {
            self.rows[Int(row.previousOfNode)]?.nextOfNode = row.nextOfNode
        } else if row.nextOfNode != Self.none {
            self.ofNode[row.node]?.firstRow = row.nextOfNode
        } else {
            self.ofNode[row.node] = nil
            self.nodes.remove(row.node)
        }
    }

    private static func pair(_ node: UInt32, _ subject: UInt32) -> UInt64 {
        UInt64(node) << 32 | UInt64(subject)
    }

    // MARK: Finding

    /// How many live SVIDs were issued through a node: all, and those of one subject.
    func counts(
        node: SPIFFEID, _ subject: IssuanceSubject
    ) -> (ofNode: LiveCounts, ofSubject: LiveCounts) {
        guard let node = self.nodes.known(node), let all = self.ofNode[node]?.counts else {
            return (LiveCounts(), LiveCounts())
        }
        let ofSubject = self.subjects.known(subject).flatMap { self.ofPair[Self.pair(node, $0)] }
        return (all, ofSubject ?? LiveCounts())
    }

    func row(identity: Bytes16) -> UInt32? {
        self.byIdentity.first(hash: Self.hash(identity)) {
            self.rows[Int($0)]?.identity == identity
        }
    }

    /// The X509-SVIDs with a serial number: one, unless an authority drew it twice.
    func rows(serial: String) -> [UInt32] {
        guard let secret = Bytes32(hexNumber: serial) else { return [] }
        return self.rows(self.bySerial, Self.hash(secret.second)) {
            $0.type == .x509 && $0.secret == secret
        }
    }

    /// The rows that a revocation covers.
    ///
    /// - Parameter entryIDs: entries that it covers beside those that it names.
    func rows(_ revocation: Revocation, entryIDs: [String] = []) -> Set<UInt32> {
        var result: Set<UInt32> = []
        func add(_ subjects: [UInt32]) {
            for number in subjects {
                var row = self.subjects[number]?.firstRow ?? Self.none
                while row != Self.none {
                    result.insert(row)
                    row = self.rows[Int(row)]?.nextOfSubject ?? Self.none
                }
            }
        }
        switch revocation.target {
        case .spiffeID(let id) where !revocation.andChildren:
            add(self.subjects.numbers(spiffeID: id))
        case .spiffeID, .pathPrefix: add(self.subjects.numbers { revocation.covers($0.spiffeID) })
        case .entryID(let id): add(self.subjects.numbers(entryID: id))
        case .selector(let selector):
            add(self.subjects.numbers { $0.selectors.contains(selector) })
        case .agentID(let id):
            add(self.subjects.numbers(spiffeID: id))
            var row = self.nodes.known(id).flatMap { self.ofNode[$0]?.firstRow } ?? Self.none
            while row != Self.none {
                result.insert(row)
                row = self.rows[Int(row)]?.nextOfNode ?? Self.none
            }
        case .workload(let entryID, let agent):
            guard let node = self.nodes.known(agent) else { break }
            add(self.subjects.numbers(entryID: entryID))
            result = result.filter { self.rows[Int($0)]?.node == node }
        case .serial(let serial): result.formUnion(self.rows(serial: serial))
        case .jti(let jti):
            let digest = Self.digest(jti)
            result.formUnion(self.rows(self.byJTI, Self.hash(digest)) { $0.jti == digest })
        case .authorityID(let id):
            guard let authority = self.authorities.known(id) else { break }
            for (number, row) in self.rows.enumerated() where row?.authority == authority {
                result.insert(UInt32(number))
            }
        }
        for id in entryIDs { add(self.subjects.numbers(entryID: id)) }
        return result
    }

    /// The number of an authority; nil when nothing of it is live.
    func authority(_ id: String) -> UInt32? { self.authorities.known(id) }

    private func rows(
        _ table: SlotTable, _ hash: UInt32, where body: (Row) -> Bool
    ) -> [UInt32] {
        var result: [UInt32] = []
        table.forEach(hash: hash) { number in
            if let row = self.rows[Int(number)], body(row) { result.append(number) }
        }
        return result
    }

    /// Different in every process, so that nobody can aim at one cell.
    private static func hash(_ bytes: Bytes16) -> UInt32 {
        var hasher = Hasher()
        hasher.combine(bytes)
        return UInt32(truncatingIfNeeded: hasher.finalize())
    }
}

/// Numbers that stand for names.
private struct Names<Name: Hashable & Sendable>: Sendable {
    private var numbers: [Name: UInt32] = [:]
    private var names: [Name?] = []
    private var free: [UInt32] = []

    func known(_ name: Name) -> UInt32? { self.numbers[name] }

    mutating func number(_ name: Name) -> UInt32 {
        if let known = self.numbers[name] { return known }
        let number = self.free.popLast() ?? UInt32(self.names.count)
        if Int(number) == self.names.count { self.names.append(nil) }
        self.names[Int(number)] = name
        self.numbers[name] = number
        return number
    }

    mutating func remove(_ number: UInt32) {
        guard let name = self.names[Int(number)] else { return }
        self.numbers[name] = nil
        self.names[Int(number)] = nil
        self.free.append(number)
    }
}
