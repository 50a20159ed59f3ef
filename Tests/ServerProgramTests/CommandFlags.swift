import ArgumentParser
import Foundation

/// The names of the flags of a command and of all below it, as the argument parser knows them.
enum CommandFlags {
    private struct Tool: Decodable { let command: Command }

    private struct Command: Decodable {
        let subcommands: [Command]?
        let arguments: [Argument]?
    }

    private struct Argument: Decodable {
        struct Name: Decodable { let name: String }
        let kind: String
        let names: [Name]?
    }

    /// - Returns: those without and those with a value.
    static func names(
        of root: any ParsableCommand.Type
    ) throws -> (flags: Set<String>, options: Set<String>) {
        let tool = try JSONDecoder().decode(Tool.self, from: Data(root._dumpHelp().utf8))
        var names: [String: Set<String>] = [:]
        func add(_ command: Command) {
            for argument in command.arguments ?? [] {
                names[argument.kind, default: []].formUnion(
                    argument.names?.map(\.name) ?? [])
            }
            for child in command.subcommands ?? [] { add(child) }
        }
        add(tool.command)
        return (names["flag"] ?? [], names["option"] ?? [])
    }
}
