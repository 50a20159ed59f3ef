import SPIFFE

/// Parsing of SPIFFE IDs.
enum IDBenchmark {
    static func run() throws -> [Figure] {
        // Put together at run time: in memory of their own, as text from outside is.
        let texts = ["orders", "payments", "x", "inventory-service-with-a-longer-name"].map {
            ["spiffe:/", "example.org", "ns", "production", "sa", $0].joined(separator: "/")
        }
        let runs = 20_000
        let times = try Measurement.fastest(
            runs: runs, [{ for text in texts { keep(try SPIFFEID(text)) } }])
        var figures = [
            Figure(
                benchmark: "id", label: "a parse", value: times[0] / Double(texts.count),
                unit: "ns", must: 200, aim: 100,
                note: "\(texts.count) IDs of \(texts.map(\.utf8.count).min() ?? 0) to "
                    + "\(texts.map(\.utf8.count).max() ?? 0) bytes")
        ]
        let allocations = try Measurement.allocations(runs: 1000) {
            for text in texts { keep(try SPIFFEID(text)) }
        }
        guard let allocations else {
            throw BenchmarkError(description: "allocations cannot be counted here")
        }
        figures.append(
            Figure(
                benchmark: "id", label: "allocations", value: allocations / Double(texts.count),
                unit: "", must: 0, aim: 0,
                note: "calls of the allocator for each parse; the result shares the text's memory"))
        return figures
    }
}
