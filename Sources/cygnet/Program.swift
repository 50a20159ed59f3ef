import ArgumentParser
import Foundation
import ServiceRuntime

/// One tool for people: a whole identity plane on a laptop, and programs that use it.
@main
struct Program: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cygnet",
        abstract: "Identities for agents and other programs.",
        version: ProgramVersion.current,
        subcommands: [UpCommand.self, ExecCommand.self, LedgerCommand.self])

    static func main() async {
        do {
            var command = try Self.parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let failure as LaptopError {
            FileHandle.standardError.write(Data("error: \(failure.message)\n".utf8))
            for hint in failure.hints {
                FileHandle.standardError.write(Data("hint: \(hint)\n".utf8))
            }
            Foundation.exit(failure.exitCode)
        } catch {
            let code = Self.exitCode(for: error)
            if code == .success { Self.exit(withError: error) }
            let text = Self.fullMessage(for: error)
            FileHandle.standardError.write(Data((text.isEmpty ? "\(error)" : text).utf8 + [10]))
            Foundation.exit(1)
        }
    }
}

/// What a person reads when a command cannot be carried out.
struct LaptopError: Error {
    let message: String
    var hints: [String] = []
    var exitCode: Int32 = 1
}
