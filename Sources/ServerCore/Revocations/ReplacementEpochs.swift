/// Which replacements came after an issuance had begun: numbers them as they are made. A value without locks.
struct ReplacementEpochs: Sendable {
    /// How many have been made since the start.
    private(set) var latest: UInt64 = 0
    /// Which of them each was.
    private var numbers: [String: UInt64] = [:]

    /// A replacement was made.
    mutating func enter(_ id: String) {
        self.latest += 1
        self.numbers[id] = self.latest
    }

    /// A revocation is no more.
    mutating func leave(_ id: String) { self.numbers[id] = nil }

    /// Whether it is a replacement that was made after that epoch.
    func isLater(_ id: String, than epoch: UInt64) -> Bool { (self.numbers[id] ?? 0) > epoch }
}
