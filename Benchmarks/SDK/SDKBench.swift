import Foundation

/// Measures the SDK, and of the server what needs no server to run, against the thresholds that are promised, and prints a
/// line of JSON for each figure.
///
///     sdk-bench [--check] [chain] [id] [jwt] [wit] [lists] [ledger]
///
/// With `--check` the exit code is 1 when a threshold is missed. To be built with `-c release`.
@main enum SDKBench {
    private static let benchmarks: [(name: String, run: @Sendable () async throws -> [Figure])] = [
        ("chain", { try ChainBenchmark.run() }), ("id", { try IDBenchmark.run() }),
        ("jwt", { try JWTBenchmark.run() }), ("wit", { try WITBenchmark.run() }),
        ("lists", { try ListsBenchmark.run() }), ("ledger", { try await LedgerBenchmark.run() }),
    ]

    static func main() async {
        var wanted = Set(CommandLine.arguments.dropFirst())
        let isChecked = wanted.remove("--check") != nil
        let unknown = wanted.subtracting(self.benchmarks.map(\.name))
        guard unknown.isEmpty else {
            self.complain(
                "unknown argument \(unknown.sorted().joined(separator: ", ")); expected --check or "
                    + self.benchmarks.map(\.name).joined(separator: ", "))
            exit(1)
        }
        #if DEBUG
            self.complain("built without optimisation: the figures mean nothing; use -c release")
            if isChecked { exit(1) }
        #endif
        var isReached = true
        for benchmark in self.benchmarks where wanted.isEmpty || wanted.contains(benchmark.name) {
            do {
                for figure in try await benchmark.run() {
                    print(figure.line)
                    guard !figure.isReached else { continue }
                    isReached = false
                    self.complain(
                        "\(figure.benchmark), \(figure.label): \(figure.value) \(figure.unit), "
                            + "must be at \(figure.isMore ? "least" : "most") \(figure.must ?? 0)")
                }
            } catch {
                isReached = false
                self.complain("\(benchmark.name): \(error)")
            }
        }
        if isChecked && !isReached { exit(1) }
    }

    private static func complain(_ text: String) {
        FileHandle.standardError.write(Data("sdk-bench: \(text)\n".utf8))
    }
}

/// Why a benchmark gave no figure.
struct BenchmarkError: Error, CustomStringConvertible {
    let description: String
}
