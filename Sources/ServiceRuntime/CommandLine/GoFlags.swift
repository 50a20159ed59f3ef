package import ArgumentParser

extension NameSpecification {
    /// A flag as Go spells it: `-name`, and `--name` with the same meaning.
    package static func go(_ name: String) -> NameSpecification {
        [.customLong(name, withSingleDash: true), .customLong(name)]
    }
}

/// The flags without value of a program: Go takes them as `-flag`, `-flag=true` and `-flag=false`, and never takes the
/// argument behind as their value.
package struct GoSwitches: Sendable, Hashable {
    /// Those for which false is the same as not given; flags of the argument parser.
    package let plain: Set<String>
    /// Those for which it is not; options of the argument parser with a ``GoBoolean``.
    package let threeWay: Set<String>

    /// Makes the set; no name may be in both.
    package init(_ plain: Set<String>, threeWay: Set<String> = []) {
        self.plain = plain
        self.threeWay = threeWay
    }

    /// Whether the argument parser, too, knows a flag of that name to have no value.
    func contains(_ name: String) -> Bool {
        self.plain.contains(name) || self.threeWay.contains(name)
            || ["h", "help", "version"].contains(name)
    }
}

/// The value of a switch that may be left open.
package enum GoBoolean: String, Sendable, CaseIterable, ExpressibleByArgument {
    case `true`
    case `false`

    /// Reads what Go's flag package takes for a boolean.
    init?(goText text: String) {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": self = .true
        case "0", "f", "F", "false", "FALSE", "False": self = .false
        default: return nil
        }
    }

    /// As a value of the language.
    package var value: Bool { self == .true }
}

/// Arguments in the notation of Go's flag package, brought into the form the argument parser reads.
package enum GoArguments {
    /// Rewrites switches: plain ones to `-switch` or, when false, to nothing; those that may be left open to
    /// `-switch=true` or `-switch=false`. Of one that is given more than once the last counts.
    ///
    /// `-h` becomes `-help`. What is the value of the flag before it stays as it is, and so does everything behind a bare
    /// `--`.
    ///
    /// - Throws: ``CommandError`` when a switch has a value that is no boolean.
    package static func normalised(
        _ arguments: [String], switches: GoSwitches
    ) throws(CommandError) -> [String] {
        /// The arguments so far; nil for those that a later one replaces.
        var result: [String?] = []
        var places: [String: Int] = [:]
        var isValue = false
        for (index, argument) in arguments.enumerated() {
            if isValue {
                isValue = false
                result.append(argument)
                continue
            }
            if argument == "--" { return result.compactMap(\.self) + arguments[index...] }
            guard let (name, value) = GoArguments.flag(argument) else {
                result.append(argument)
                continue
            }
            guard switches.plain.contains(name) || switches.threeWay.contains(name) else {
                isValue = value == nil && !switches.contains(name)
                result.append(argument == "-h" ? "-help" : argument)
                continue
            }
            guard let boolean = GoBoolean(goText: value ?? "true") else {
                throw CommandError(
                    "invalid value \(QuotedText.quoted(value ?? "")) for flag -\(name): expected true or false"
                )
            }
            if let place = places[name] { result[place] = nil }
            if switches.threeWay.contains(name) {
                places[name] = result.count
                result.append("-\(name)=\(boolean.rawValue)")
            } else if boolean.value {
                places[name] = result.count
                result.append("-" + name)
            } else {
                places[name] = nil
            }
        }
        return result.compactMap(\.self)
    }

    /// The name of a flag and what stands behind its first `=`; nil for what is no flag.
    private static func flag(_ argument: String) -> (name: String, value: String?)? {
        guard argument.hasPrefix("-") else { return nil }
        let text = argument.dropFirst(argument.hasPrefix("--") ? 2 : 1)
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = parts.first, !name.isEmpty else { return nil }
        return (String(name), parts.count > 1 ? String(parts[1]) : nil)
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
