/// The `--name value` pairs of a command line.
package struct CommandLineOptions: Sendable {
    private let values: [String: String]

    /// - Parameters:
    ///   - arguments: Without the program's name.
    ///   - names: What is known, without dashes.
    /// - Throws: ``Failure`` 1 with the usage for anything else.
    package init(_ arguments: [String], names: Set<String>, usage: String) throws(Failure) {
        var values: [String: String] = [:]
        var rest = arguments[...]
        while let name = rest.popFirst() {
            guard name.hasPrefix("--"), names.contains(String(name.dropFirst(2))),
                let value = rest.popFirst()
            else { throw Failure(1, "usage: \(usage)") }
            values[String(name.dropFirst(2))] = value
        }
        self.values = values
    }

    /// The value, read by `parse`.
    ///
    /// - Throws: ``Failure`` 1 when it is missing or `parse` gives nil.
    package func required<Value>(
        _ name: String, _ parse: (String) -> Value?
    ) throws(Failure) -> Value {
        guard let text = self.values[name], let value = parse(text) else {
            throw Failure(1, "--\(name) is missing or wrong")
        }
        return value
    }

    /// The value as it was given; nil when it was not.
    package func text(_ name: String) -> String? { self.values[name] }

    /// The value as a number that is not negative.
    package func count(_ name: String, default fallback: Int) throws(Failure) -> Int {
        guard let text = self.values[name] else { return fallback }
        guard let count = Int(text), count >= 0 else {
            throw Failure(1, "--\(name) is no number")
        }
        return count
    }
}
