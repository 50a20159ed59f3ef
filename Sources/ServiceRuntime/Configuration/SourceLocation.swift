/// A place in a configuration file, as a person finds it in an editor.
package struct SourceLocation: Hashable, Sendable, CustomStringConvertible {
    /// The file as it was named on the command line.
    package let file: String
    /// Counted from 1.
    package let line: Int
    /// Counted from 1, in bytes.
    package let column: Int

    /// Makes a location.
    package init(file: String, line: Int, column: Int) {
        self.file = file
        self.line = line
        self.column = column
    }

    /// `file:line`, the form used in messages.
    package var description: String { "\(self.file):\(self.line)" }
}
