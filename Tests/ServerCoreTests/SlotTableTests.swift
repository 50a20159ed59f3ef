import ServerTestSupport
import Testing

@testable import ServerCore

@Suite struct SlotTableTests {
    /// Hashes whose home is one of the last or first cells, so that runs go round the end.
    private static let hashes: [UInt32] = [
        .max, .max - 1, .max - 2, 0, 1, 2, 0x0000_000F, 0x0001_000F, 0xFFFF_FFF0, 0x8000_000E,
    ]

    @Test(arguments: [11, 12, 13, 14] as [UInt64])
    func `finds exactly what a list of pairs holds, also round the end of the table`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var table = SlotTable()
        var model: [UInt32: Set<UInt32>] = [:]
        var next: UInt32 = 0
        for _ in 0..<4_000 {
            let hash = Self.hashes[Int.random(in: 0..<Self.hashes.count, using: &generator)]
            let held = model[hash, default: []]
            let total = model.values.reduce(0) { $0 + $1.count }
            // Small tables at first, where runs are long; larger ones later.
            let grows = Int.random(in: 0..<40, using: &generator) > total
            if !grows, let slot = held.randomElement(using: &generator) {
                table.remove(slot, hash: hash)
                model[hash]?.remove(slot)
            } else {
                table.insert(next, hash: hash)
                model[hash, default: []].insert(next)
                next += 1
            }
            for hash in Self.hashes {
                var found: [UInt32] = []
                table.forEach(hash: hash) { found.append($0) }
                #expect(found.count == Set(found).count)
                #expect(Set(found) == model[hash, default: []])
            }
            #expect(table.count == model.values.reduce(0) { $0 + $1.count })
        }
    }

    @Test func `a run that goes round the end stays whole when its first cell is removed`() {
        var table = SlotTable()
        // Home is the last of 16 cells; the run covers cells 15, 0, 1, 2.
        for slot in 0..<4 as Range<UInt32> { table.insert(slot, hash: 15) }
        table.insert(9, hash: 1)
        table.remove(0, hash: 15)
        for slot in 1..<4 as Range<UInt32> {
            #expect(table.first(hash: 15) { $0 == slot } == slot)
        }
        #expect(table.first(hash: 1) { _ in true } == 9)
        #expect(table.first(hash: 15) { $0 == 0 } == nil)
    }

    @Test func `removing what is not there changes nothing`() {
        var table = SlotTable()
        table.insert(1, hash: 7)
        table.remove(2, hash: 7)
        table.remove(1, hash: 8)
        #expect(table.count == 1)
        #expect(table.first(hash: 7) { _ in true } == 1)
    }
}
