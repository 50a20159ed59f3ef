#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// What a command sees of the process it runs in; tests put their own in place.
package struct CommandContext: Sendable {
    /// The context of the command that runs in this task.
    @TaskLocal package static var current = CommandContext(
        environment: CommandContext.processEnvironment)

    /// Environment variables.
    package var environment: [String: String]
    /// Takes results, which go to standard output.
    package var output: @Sendable (String) -> Void
    /// Takes everything else, which goes to standard error.
    package var errorOutput: @Sendable (String) -> Void

    /// Makes a context; without closures text goes to the process's own outputs.
    package init(
        environment: [String: String],
        output: @escaping @Sendable (String) -> Void = {
            CommandContext.write($0, to: STDOUT_FILENO)
        },
        errorOutput: @escaping @Sendable (String) -> Void = {
            CommandContext.write($0, to: STDERR_FILENO)
        }
    ) {
        self.environment = environment
        self.output = output
        self.errorOutput = errorOutput
    }

    /// Writes a line of results.
    package func print(_ line: String) { self.output(line + "\n") }

    /// Writes a line that is not part of the results.
    package func printError(_ line: String) { self.errorOutput(line + "\n") }

    /// The variables of this process.
    package static var processEnvironment: [String: String] {
        var variables: [String: String] = [:]
        #if canImport(Darwin)
            var pointer = _NSGetEnviron().pointee
        #else
            guard var pointer = Optional(environ) else { return [:] }
        #endif
        while let entry = pointer.pointee {
            let text = String(cString: entry)
            if let sign = text.firstIndex(of: "=") {
                variables[String(text[..<sign])] = String(text[text.index(after: sign)...])
            }
            pointer = pointer.successor()
        }
        return variables
    }

    private static func write(_ text: String, to descriptor: CInt) {
        let bytes = Array(text.utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { DescriptorCalls.write(descriptor, $0) }
            if count < 0 {
                if errno == EINTR { continue }
                return
            }
            written += count
        }
    }
}
