import Foundation
import ServiceRuntime

/// Where `cygnet up` keeps its state and its sockets.
struct LaptopPaths {
    /// Keys, store and records; survives between runs unless ephemeral.
    let state: String
    /// The sockets.
    let run: String

    var serverSocket: String { self.run + "/server.sock" }
    var agentSocket: String { self.run + "/agent.sock" }
    var lock: String { self.run + "/up.lock" }

    /// The user's own folders: state under `XDG_STATE_HOME`, sockets under `XDG_RUNTIME_DIR`, each with the usual
    /// fall-back.
    static func ofUser(environment: [String: String] = ProcessInfo.processInfo.environment)
        -> LaptopPaths
    {
        func folder(_ variable: String) -> String? {
            environment[variable].flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
        let home = folder("HOME") ?? NSHomeDirectory()
        let state = (folder("XDG_STATE_HOME") ?? home + "/.local/state") + "/cygnet"
        return LaptopPaths(
            state: state, run: folder("XDG_RUNTIME_DIR").map { $0 + "/cygnet" } ?? state + "/run")
    }

    /// State that goes away at the end; the sockets stay where `cygnet exec` looks for them.
    func ephemeral() throws -> LaptopPaths {
        let template = NSTemporaryDirectory() + "/cygnet-XXXXXX"
        var bytes = Array(template.utf8CString)
        let made = bytes.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        guard let made else {
            throw LaptopError(
                message:
                    "cannot make a folder under \(NSTemporaryDirectory()): \(String(cString: strerror(errno)))"
            )
        }
        return LaptopPaths(state: made, run: self.run)
    }

    func make() throws {
        try DirectoryPath.make(self.state, mode: 0o700)
        try DirectoryPath.make(self.run, mode: 0o700)
    }
}
