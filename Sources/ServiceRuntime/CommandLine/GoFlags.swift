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
    /// Nothing behind a bare `--` is touched.
    ///
    /// - Throws: ``CommandError`` when a switch has a value that is no boolean.
    package static func normalised(
        _ arguments: [String], switches: Set<String>
    ) throws(CommandError) -> [String] {
        var result: [String] = []
        for (index, argument) in arguments.enumerated() {
            if argument == "--" { return result + arguments[index...] }
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

    private static func assignment(_ argument: String) -> (name: String, value: String)? {
        guard argument.hasPrefix("-"), let sign = argument.firstIndex(of: "=") else { return nil }
        var name = argument[argument.index(after: argument.startIndex)..<sign]
        if name.first == "-" { name = name.dropFirst() }
        return name.isEmpty ? nil : (String(name), String(argument[argument.index(after: sign)...]))
    }
}

extension NameSpecification? {
    /// The names of the help flag: `-h`, `-help` and `--help`.
    package static var goHelp: NameSpecification? {
        [.long, .customLong("help", withSingleDash: true), .customLong("h", withSingleDash: true)]
    }
}
