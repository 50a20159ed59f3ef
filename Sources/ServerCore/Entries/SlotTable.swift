/// A hash table from hashes to slot numbers, eight bytes a cell, that keeps no keys.
///
/// Whoever asks compares the key in the slot itself. Several slots may have the same hash or key. Linear
/// probing; removal closes the gap, so there are no tombstones and no rebuilds under churn.
struct SlotTable {
    /// High half: the hash; low half: slot + 1; 0 is an empty cell.
    private var cells: [UInt64]
    private var mask: Int
    private(set) var count = 0

    init() {
        self.cells = [UInt64](repeating: 0, count: 16)
        self.mask = 15
    }

    /// The hash of a key, different in every process so that nobody can aim at one cell.
    static func hash(_ parts: String...) -> UInt32 {
        var hasher = Hasher()
        for part in parts { hasher.combine(part) }
        return UInt32(truncatingIfNeeded: hasher.finalize())
    }

    mutating func insert(_ slot: UInt32, hash: UInt32) {
        if (self.count + 1) * 4 > self.cells.count * 3 { self.grow() }
        self.place(UInt64(hash) << 32 | UInt64(slot + 1))
        self.count += 1
    }

    mutating func remove(_ slot: UInt32, hash: UInt32) {
        let wanted = UInt64(hash) << 32 | UInt64(slot + 1)
        var index = Int(hash) & self.mask
        while self.cells[index] != wanted {
            if self.cells[index] == 0 { return }
            index = (index + 1) & self.mask
        }
        self.count -= 1
        // Move later cells of the run up, so that every search still meets its cell.
        var hole = index
        var next = (hole + 1) & self.mask
        while self.cells[next] != 0 {
            let home = Int(self.cells[next] >> 32) & self.mask
            let distanceToHole = (hole - home) & self.mask
            let distanceToNext = (next - home) & self.mask
            if distanceToHole < distanceToNext {
                self.cells[hole] = self.cells[next]
                hole = next
            }
            next = (next + 1) & self.mask
        }
        self.cells[hole] = 0
    }

    /// The first slot with this hash for which `matches` holds.
    func first(hash: UInt32, where matches: (UInt32) -> Bool) -> UInt32? {
        var index = Int(hash) & self.mask
        while self.cells[index] != 0 {
            if UInt32(self.cells[index] >> 32) == hash {
                let slot = UInt32(truncatingIfNeeded: self.cells[index]) - 1
                if matches(slot) { return slot }
            }
            index = (index + 1) & self.mask
        }
        return nil
    }

    /// Every slot with this hash; the keys may still differ.
    func forEach(hash: UInt32, _ body: (UInt32) -> Void) {
        _ = self.first(hash: hash) { slot in
            body(slot)
            return false
        }
    }

    private mutating func place(_ cell: UInt64) {
        var index = Int(cell >> 32) & self.mask
        while self.cells[index] != 0 { index = (index + 1) & self.mask }
        self.cells[index] = cell
    }

    private mutating func grow() {
        let old = self.cells
        self.cells = [UInt64](repeating: 0, count: old.count * 2)
        self.mask = self.cells.count - 1
        for cell in old where cell != 0 { self.place(cell) }
    }
}
