import SPIFFE

/// Whom SVIDs are for: ID, entry and selectors, each combination kept once however many SVIDs there are.
struct LiveSubjects: Sendable {
    struct Subject: Sendable {
        var spiffeID: SPIFFEID
        var entryID: String?
        var selectors: [Selector]
        /// How many live SVIDs it has, and the first of them.
        var count = 0
        var firstRow = LiveSVIDs.none
        /// Neighbours among the subjects of one SPIFFE ID.
        var previous = LiveSVIDs.none
        var next = LiveSVIDs.none
    }

    private(set) var subjects: [Subject?] = []
    private var free: [UInt32] = []
    private var table = SlotTable()
    private var byEntry = SlotTable()
    private var byID: [SPIFFEID: UInt32] = [:]

    subscript(_ number: UInt32) -> Subject? {
        get { self.subjects[Int(number)] }
        set { self.subjects[Int(number)] = newValue }
    }

    /// The number of a subject, which is entered when it is new.
    mutating func number(_ subject: IssuanceSubject) -> UInt32 {
        let hash = Self.hash(subject)
        if let known = self.known(subject, hash) { return known }
        var new = Subject(
            spiffeID: subject.spiffeID, entryID: subject.entryID, selectors: subject.selectors)
        let number = self.free.popLast() ?? UInt32(self.subjects.count)
        if let head = self.byID[subject.spiffeID] {
            new.next = head
            self.subjects[Int(head)]?.previous = number
        }
        self.byID[subject.spiffeID] = number
        if Int(number) == self.subjects.count {
            self.subjects.append(new)
        } else {
            self.subjects[Int(number)] = new
        }
        self.table.insert(number, hash: hash)
        if let entryID = subject.entryID {
            self.byEntry.insert(number, hash: SlotTable.hash(entryID))
        }
        return number
    }

    /// The number of a subject; nil when it has no SVID.
    func known(_ subject: IssuanceSubject) -> UInt32? { self.known(subject, Self.hash(subject)) }

    private func known(_ subject: IssuanceSubject, _ hash: UInt32) -> UInt32? {
        self.table.first(hash: hash) { number in
            guard let other = self.subjects[Int(number)] else { return false }
            return other.spiffeID == subject.spiffeID && other.entryID == subject.entryID
                && other.selectors == subject.selectors
        }
    }

    private static func hash(_ subject: IssuanceSubject) -> UInt32 {
        SlotTable.hash(subject.spiffeID.string, subject.entryID ?? "")
    }

    /// Forgets a subject that has no SVID any more.
    mutating func remove(_ number: UInt32) {
        guard let old = self.subjects[Int(number)] else { return }
        if old.previous != LiveSVIDs.none {
            self.subjects[Int(old.previous)]?.next = old.next
        } else {
            self.byID[old.spiffeID] = old.next == LiveSVIDs.none ? nil : old.next
        }
        if old.next != LiveSVIDs.none { self.subjects[Int(old.next)]?.previous = old.previous }
        self.table.remove(
            number, hash: SlotTable.hash(old.spiffeID.string, old.entryID ?? ""))
        if let entryID = old.entryID {
            self.byEntry.remove(number, hash: SlotTable.hash(entryID))
        }
        self.subjects[Int(number)] = nil
        self.free.append(number)
    }

    /// The subjects of a SPIFFE ID.
    func numbers(spiffeID: SPIFFEID) -> [UInt32] {
        var result: [UInt32] = []
        var number = self.byID[spiffeID] ?? LiveSVIDs.none
        while number != LiveSVIDs.none {
            result.append(number)
            number = self.subjects[Int(number)]?.next ?? LiveSVIDs.none
        }
        return result
    }

    /// The subjects of an entry.
    func numbers(entryID: String) -> [UInt32] {
        var result: [UInt32] = []
        self.byEntry.forEach(hash: SlotTable.hash(entryID)) { number in
            if self.subjects[Int(number)]?.entryID == entryID { result.append(number) }
        }
        return result
    }

    /// The subjects for which `body` holds: a walk over all of them, which are far fewer than SVIDs.
    func numbers(where body: (Subject) -> Bool) -> [UInt32] {
        var result: [UInt32] = []
        for (number, subject) in self.subjects.enumerated() {
            if let subject, body(subject) { result.append(UInt32(number)) }
        }
        return result
    }
}
