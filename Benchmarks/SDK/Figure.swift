/// A measured figure and what it should be.
struct Figure {
    /// Which benchmark it belongs to: what the command line takes.
    let benchmark: String
    let label: String
    let value: Double
    let unit: String
    /// The threshold; nil for a figure that is for information.
    var must: Double?
    /// Where the design is going.
    var aim: Double?
    /// Whether more is better; less is, as a rule.
    var isMore = false
    /// How it was measured, in a few words.
    let note: String

    var isReached: Bool {
        self.must.map { self.isMore ? self.value >= $0 : self.value <= $0 } ?? true
    }

    /// The figure as a JSON object in one line. Labels and notes are our own and need no escapes.
    var line: String {
        func number(_ value: Double?) -> String { value.map { "\($0)" } ?? "null" }
        return
            "{\"benchmark\": \"\(self.benchmark)\", \"label\": \"\(self.label)\", \"value\": \(self.value), "
            + "\"unit\": \"\(self.unit)\", \"must\": \(number(self.must)), \"aim\": \(number(self.aim)), "
            + "\"more\": \(self.isMore), \"note\": \"\(self.note)\"}"
    }
}
