package import ArgumentParser

/// Runs the command line of one program and maps what happens to exit codes.
///
/// 0 for success, help and version; 1 for any error; 127 for a command that does not exist.
package struct CommandRunner: Sendable {
    /// The name the program was started under, for messages.
    package let program: String
    /// What `-version` prints.
    package let version: String
    /// Flags without value, which Go also takes as `-flag=true` and `-flag=false`.
    package let switches: GoSwitches

    /// Makes a runner.
    package init(program: String, version: String, switches: GoSwitches) {
        self.program = program
        self.version = version
        self.switches = switches
    }

    /// Parses the arguments and runs the command that they name.
    ///
    /// - Parameters:
    ///   - root: The command that holds all others.
    ///   - arguments: Without the program's name.
    /// - Returns: The exit code.
    package func run(
        _ root: any ParsableCommand.Type, arguments: [String]
    ) async -> Int32 {
        let context = CommandContext.current
        switch arguments.first {
        case nil:
            context.errorOutput(root.helpMessage() + "\n")
            return 127
        case "-version", "--version":
            context.print(self.version)
            return 0
        default: break
        }
        if let code = self.checkCommand(root, arguments) { return code }
        do {
            let normalised = try GoArguments.normalised(arguments, switches: self.switches)
            var command = try root.parseAsRoot(normalised)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            return 0
        } catch let error as CommandError {
            return self.report(error)
        } catch let error as ConfigurationError {
            return self.report(CommandError(error.message))
        } catch let error as FileError {
            return self.report(CommandError(error.message))
        } catch let error as ExitCode {
            return error.rawValue
        } catch {
            return self.report(parserError: error, root)
        }
    }

    private func report(_ error: CommandError) -> Int32 {
        let context = CommandContext.current
        context.printError("Error: " + error.message)
        for hint in error.hints { context.printError("hint: " + hint) }
        return error.exitCode
    }

    /// Help comes as an error of the argument parser, and so do mistakes in flags.
    private func report(parserError error: any Error, _ root: any ParsableCommand.Type) -> Int32 {
        let context = CommandContext.current
        let text = root.fullMessage(for: error)
        if root.exitCode(for: error) == .success {
            context.print(text)
            return 0
        }
        context.printError(text.isEmpty ? "Error: \(error)" : text)
        return 1
    }

    /// Walks down the named commands; gives an exit code when one does not exist or is only a group.
    private func checkCommand(
        _ root: any ParsableCommand.Type, _ arguments: [String]
    ) -> Int32? {
        let context = CommandContext.current
        var command = root
        var path = [self.program]
        for argument in arguments {
            let children = command.configuration.subcommands
            if children.isEmpty || argument.hasPrefix("-") || argument == "help" { break }
            guard let child = children.first(where: { $0.configuration.commandName == argument })
            else {
                let names = children.compactMap { $0.configuration.commandName }
                let hint = NearestName.nearest(to: argument, among: names)
                let asked = (path + [argument]).joined(separator: " ")
                context.printError("Error: unknown command \(QuotedText.quoted(asked))")
                if let hint {
                    context.printError("hint: \((path + [hint]).joined(separator: " "))")
                }
                context.printError(root.helpMessage(for: command))
                return 127
            }
            command = child
            path.append(argument)
        }
        let isGroup =
            !command.configuration.subcommands.isEmpty
            && command.configuration.defaultSubcommand == nil
        guard isGroup, path.count - 1 == arguments.count else { return nil }
        context.printError(root.helpMessage(for: command))
        return 1
    }
}
