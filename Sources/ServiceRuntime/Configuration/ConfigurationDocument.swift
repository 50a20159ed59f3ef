/// A parsed configuration file.
package struct ConfigurationDocument: Sendable {
    /// The largest file that is read, in bytes.
    package static let maximumSize = 4 * 1024 * 1024

    /// The file as it was named, used in messages.
    package let file: String
    /// The top-level block.
    package let root: ConfigurationNode

    /// Parses HCL, or JSON when the first character that is not white space is `{`.
    ///
    /// - Parameters:
    ///   - bytes: The text.
    ///   - file: Its name for messages.
    ///   - limit: The most bytes that are accepted.
    /// - Throws: ``ConfigurationError`` with `tooLarge`, `tooDeep` or `syntax`.
    package init(
        parsing bytes: [UInt8], file: String, limit: Int = ConfigurationDocument.maximumSize
    ) throws(ConfigurationError) {
        if bytes.count > limit {
            throw ConfigurationError(
                .tooLarge, "\(file) has \(bytes.count) bytes; at most \(limit) are read")
        }
        var cursor = ConfigurationCursor(bytes: bytes, file: file)
        cursor.skipWhitespace()
        self.file = file
        if cursor.current == UInt8(ascii: "{") {
            var parser = JSONConfigurationParser(bytes: bytes, file: file)
            self.root = try parser.parse()
        } else {
            var parser = HCLParser(bytes: bytes, file: file)
            self.root = try parser.parse()
        }
    }

    /// Reads and parses a file.
    ///
    /// - Parameters:
    ///   - path: Absolute, or relative to the working directory.
    ///   - environment: Variables to expand (`-expandEnv`), or nil to leave `$` alone.
    /// - Throws: ``ConfigurationError``; `unreadable` names the path and the reason.
    package init(
        readingFrom path: String, expandingEnvironment environment: [String: String]? = nil
    ) throws(ConfigurationError) {
        var bytes: [UInt8]
        do {
            bytes = try BoundedFile.read(path, limit: ConfigurationDocument.maximumSize)
        } catch {
            throw ConfigurationError(
                error.code == .tooLarge ? .tooLarge : .unreadable,
                "cannot read configuration: \(error.message)")
        }
        if let environment {
            bytes = try EnvironmentExpansion.expand(bytes, environment: environment)
        }
        try self.init(parsing: bytes, file: path)
    }

    /// The top-level block, to be read key by key.
    package func section() throws(ConfigurationError) -> ConfigurationSection {
        try ConfigurationSection(self.root, name: "")
    }
}
