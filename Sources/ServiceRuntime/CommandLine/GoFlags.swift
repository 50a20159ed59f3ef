package import ArgumentParser

extension NameSpecification {
    /// A flag as Go spells it: `-name`, and `--name` with the same meaning.
    package static func go(_ name: String) -> NameSpecification {
        [.customLong(name, withSingleDash: true), .customLong(name)]
    }
}

/// Arguments in the notation of Go's flag package, brought into the form the argument parser reads.
package enum GoArguments {
    /// Rewrites `-switch=true` to `-switch` and drops `-switch=false`, for the switches named.
    ///
    /// A switch that is given as false counts as not given, as everywhere in SPIRE's command line.
    /// `-h` becomes `-help` unless it is the value of the flag before it. Nothing behind a bare `--` is
    /// touched.
    ///
    /// - Throws: ``CommandError`` when a switch has a value that is no boolean.
    package static func normalised(
        _ arguments: [String], switches: Set<String>
    ) throws(CommandError) -> [String] {
        var result: [String] = []
        for (index, argument) in arguments.enumerated() {
            if argument == "--" { return result + arguments[index...] }
            if argument == "-h" {
                let before = index > 0 ? arguments[index - 1] : ""
                let isValue = GoArguments.takesValue(before, switches: switches)
                result.append(isValue ? argument : "-help")
                continue
            }
            guard let (name, value) = GoArguments.assignment(argument), switches.contains(name)
            else {
                result.append(argument)
                continue
            }
            switch value {
            case "1", "t", "T", "true", "TRUE", "True": result.append("-" + name)
            case "0", "f", "F", "false", "FALSE", "False": break
            default:
                throw CommandError(
                    "invalid value \(QuotedText.quoted(value)) for flag -\(name): expected true or false"
                )
            }
        }
        return result
    }

    /// Whether what follows the argument is its value.
    private static func takesValue(_ argument: String, switches: Set<String>) -> Bool {
        guard argument.hasPrefix("-"), argument != "-", !argument.contains("=") else {
            return false
        }
        return !switches.contains(String(argument.drop { $0 == "-" }))
    }

    private static func assignment(_ argument: String) -> (name: String, value: String)? {
        guard argument.hasPrefix("-"), let sign = argument.firstIndex(of: "=") else { return nil }
        var name = argument[argument.index(after: argument.startIndex)..<sign]
        if name.first == "-" { name = name.dropFirst() }
        return name.isEmpty ? nil : (String(name), String(argument[argument.index(after: sign)...]))
    }
}

extension NameSpecification? {
    /// The names of the help flag, `-help` and `--help`; ``GoArguments`` turns `-h` into the first.
    ///
    /// A short name is not among them: the parser would find it in any unknown flag that has an h in it.
    package static var goHelp: NameSpecification? {
        [.long, .customLong("help", withSingleDash: true)]
    }
}
