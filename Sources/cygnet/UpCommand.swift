import AgentProgram
import ArgumentParser
import Foundation
import Logging
import NIOConcurrencyHelpers
import ServerProgram
import ServiceRuntime

/// `cygnet up`: a server and an agent in one process, without root and without a configuration file.
struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Run a server and an agent in this terminal.",
        discussion:
            "Keeps its state under the user's state directory; --ephemeral forgets everything at the end."
    )

    @Flag(help: "Forget keys, entries and records at the end.")
    var ephemeral = false

    @Option(name: .customLong("trust-domain"), help: "Name of the trust domain.")
    var trustDomain = "laptop.test"

    @Flag(help: "Show the log of server and agent as well.")
    var verbose = false

    func run() async throws {
        umask(0o077)
        OpenFileLimit.raise()
        let user = LaptopPaths.ofUser()
        let paths = self.ephemeral ? try user.ephemeral() : user
        try paths.make()
        let lock = try LaptopLock(paths.lock)
        defer {
            withExtendedLifetime(lock) {}
            for path in [paths.serverSocket, paths.agentSocket, paths.lock] { unlink(path) }
            if self.ephemeral { try? FileManager.default.removeItem(atPath: paths.state) }
        }
        let lines = LiveLines()
        let logger = try self.logger(paths)
        try await Laptop(
            trustDomain: self.trustDomain, paths: paths, logger: logger, lines: lines,
            isEphemeral: self.ephemeral
        ).run()
    }

    private func logger(_ paths: LaptopPaths) throws -> Logger {
        let file = self.verbose ? nil : paths.state + "/cygnet.log"
        return try LogSystem(LogConfiguration(level: .info, format: .text, file: file)).logger()
    }
}

/// Keeps a second `cygnet up` of the same user out.
final class LaptopLock {
    private let descriptor: CInt

    init(_ path: String) throws {
        self.descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard self.descriptor >= 0 else {
            throw LaptopError(message: "cannot open \(path): \(String(cString: strerror(errno)))")
        }
        guard flock(self.descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw LaptopError(
                message: "cygnet up is running already",
                hints: ["stop it with Ctrl-C in its terminal"])
        }
    }

    deinit { close(self.descriptor) }
}
