#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Things to do at a time, soonest first: a binary heap. Nothing is ever taken out early; whoever
/// takes a due item checks whether it still matters.
struct DeadlineQueue<Item: Sendable>: Sendable {
    private var heap: [(at: Date, item: Item)] = []

    /// When the soonest item is due.
    var next: Date? { self.heap.first?.at }
    var count: Int { self.heap.count }

    mutating func add(_ item: Item, at date: Date) {
        self.heap.append((date, item))
        var child = self.heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if self.heap[parent].at <= self.heap[child].at { break }
            self.heap.swapAt(parent, child)
            child = parent
        }
    }

    /// Takes the soonest item if it is due.
    mutating func takeDue(_ now: Date) -> Item? {
        guard let first = self.heap.first, first.at <= now else { return nil }
        let last = self.heap.removeLast()
        if !self.heap.isEmpty {
            self.heap[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2]
                where child < self.heap.count && self.heap[child].at < self.heap[least].at {
                    least = child
                }
                if least == parent { break }
                self.heap.swapAt(parent, least)
                parent = least
            }
        }
        return first.item
    }
}
