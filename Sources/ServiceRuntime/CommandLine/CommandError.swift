/// An error that ends a command, as its user sees it.
package struct CommandError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What failed, on which input; printed after `Error: `.
    package let message: String
    /// What to do next, each with a command to run; printed as `hint:` lines.
    package let hints: [String]
    /// The exit code.
    package let exitCode: Int32

    /// Makes an error with exit code 1 unless told otherwise.
    package init(_ message: String, hints: [String] = [], exitCode: Int32 = 1) {
        self.message = message
        self.hints = hints
        self.exitCode = exitCode
    }

    package var description: String { self.message }
}
