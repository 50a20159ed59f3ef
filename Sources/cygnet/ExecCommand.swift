import ArgumentParser
import Foundation
import ServiceRuntime

/// `cygnet exec -- program arguments…`: becomes the program, which finds the Workload API in its environment.
struct ExecCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract: "Run a program with SPIFFE_ENDPOINT_SOCKET set.",
        discussion: "Example: cygnet exec -- cygnet-agent api fetch x509")

    @Option(name: .customLong("socket"), help: "Workload API socket; default: that of cygnet up.")
    var socket: String?

    @Argument(parsing: .captureForPassthrough, help: "The program and its arguments.")
    var command: [String] = []

    func run() throws {
        var words = self.command
        if words.first == "--" { words.removeFirst() }
        guard let program = words.first else {
            throw LaptopError(
                message: "no program given", hints: ["cygnet exec -- env"])
        }
        let path = self.socket ?? LaptopPaths.ofUser().agentSocket
        guard self.socket != nil || FileManager.default.fileExists(atPath: path) else {
            throw LaptopError(
                message: "there is no Workload API at \(path)",
                hints: ["run \"cygnet up\" in another terminal"])
        }
        setenv("SPIFFE_ENDPOINT_SOCKET", "unix://" + path, 1)
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        arguments.append(nil)
        // Becomes the program, so that the agent sees the program itself and signals reach it.
        execvp(program, &arguments)
        let reason = String(cString: strerror(errno))
        throw LaptopError(
            message: "cannot run \(program): \(reason)", exitCode: errno == ENOENT ? 127 : 126)
    }
}
