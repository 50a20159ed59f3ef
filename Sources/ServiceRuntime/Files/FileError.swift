#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Why a file, directory or socket path could not be used.
package struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    package struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case notFound, permission, tooLarge, inUse, unsafe, system
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// Nothing is at the path.
        package static let notFound = Code(.notFound)
        /// The process may not do that.
        package static let permission = Code(.permission)
        /// The file exceeds the limit, or the path does.
        package static let tooLarge = Code(.tooLarge)
        /// Another process uses the path.
        package static let inUse = Code(.inUse)
        /// What is at the path must not be touched.
        package static let unsafe = Code(.unsafe)
        /// Another failure of the operating system.
        package static let system = Code(.system)

        package var description: String { self.value.rawValue }
    }

    /// The kind of failure; compare this.
    package let code: Code
    /// What failed, on which path and why.
    package let message: String

    /// Makes an error with a message of its own.
    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// Makes an error of the calling thread's `errno`.
    ///
    /// - Parameter action: What was attempted, such as `open`.
    init(errno number: Int32, _ action: String, _ path: String) {
        let code: Code =
            switch number {
            case ENOENT, ENOTDIR: .notFound
            case EACCES, EPERM, EROFS: .permission
            case EADDRINUSE: .inUse
            default: .system
            }
        self.init(
            code, "cannot \(action) \(QuotedText.quoted(path)): \(FileError.describe(number))")
    }

    package var description: String { self.message }

    private static func describe(_ number: Int32) -> String {
        switch number {
        case ENOENT: "no such file or directory"
        case EACCES: "permission denied"
        case EPERM: "operation not permitted"
        case EEXIST: "it exists already"
        case EISDIR: "it is a directory"
        case ENOTDIR: "a part of the path is no directory"
        case ENOSPC: "no space left on the device"
        case EROFS: "the file system is read-only"
        case EMFILE, ENFILE: "too many open files"
        case EADDRINUSE: "the address is in use"
        default: "system error \(number)"
        }
    }
}
