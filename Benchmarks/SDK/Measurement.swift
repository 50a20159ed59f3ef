import CAllocations

/// How long pieces of work take, measured side by side.
enum Measurement {
    /// Nanoseconds that one run of each piece takes.
    ///
    /// The pieces take turns, round after round, so that whatever else the machine does hits all of them. Of each the
    /// fastest round counts: noise only ever adds. Ratios are of such figures.
    static func fastest(
        rounds: Int = 60, runs: Int, _ pieces: [() throws -> Void]
    ) throws -> [Double] {
        let clock = ContinuousClock()
        var best = [Double](repeating: .infinity, count: pieces.count)
        // The first round warms caches up and counts for nothing.
        for round in 0...rounds {
            for (index, piece) in pieces.enumerated() {
                let begun = clock.now
                for _ in 0..<runs { try piece() }
                let (seconds, fraction) = (clock.now - begun).components
                let taken = (Double(seconds) * 1e9 + Double(fraction) / 1e9) / Double(runs)
                if round > 0 { best[index] = min(best[index], taken) }
            }
        }
        return best
    }

    /// How often the work asks for memory, for each run; nil where that cannot be counted.
    ///
    /// Calls of the allocator on this thread are counted, not bytes: memory that is taken and given back counts too,
    /// and what caches hand out is not mistaken for free.
    static func allocations(runs: Int, _ work: () throws -> Void) rethrows -> Double? {
        guard self.countsAllocations else { return nil }
        try work()
        let before = cygnet_allocations()
        for _ in 0..<runs { try work() }
        return Double(cygnet_allocations() - before) / Double(runs)
    }

    /// Whether an allocation is noticed: a counter that never moves would make every figure look good.
    private static var countsAllocations: Bool {
        let before = cygnet_allocations()
        var kept: [UnsafeMutableRawPointer] = []
        for size in 1...8 { kept.append(.allocate(byteCount: size * 100, alignment: 8)) }
        for pointer in kept { pointer.deallocate() }
        return before >= 0 && cygnet_allocations() - before >= 8
    }
}

/// Makes the optimiser believe that somebody needs the value.
@inline(never) @_optimize(none) func keep<Value>(_ value: borrowing Value) {}
