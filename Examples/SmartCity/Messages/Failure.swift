import Foundation

/// Why a program of the city ends, and with which exit code.
package struct Failure: Error, CustomStringConvertible {
    package let exitCode: Int32
    package let description: String

    package init(_ exitCode: Int32, _ description: String) {
        self.exitCode = exitCode
        self.description = description
    }
}

/// What a program says: results on stdout, the reason of its end on stderr. Each line is written at once,
/// so that whoever reads the pipe sees it in time.
package struct Voice: Sendable {
    private let name: String

    /// - Parameter name: What each line begins with.
    package init(_ name: String) { self.name = name }

    /// One line on stdout.
    package func say(_ text: String) {
        FileHandle.standardOutput.write(Data("\(self.name): \(text)\n".utf8))
    }

    /// Runs a program to its end and gives the exit code.
    package func exitCode(of program: @Sendable () async throws -> Void) async -> Int32 {
        do {
            try await program()
            return 0
        } catch {
            FileHandle.standardError.write(Data("error: \(error)\n".utf8))
            return (error as? Failure)?.exitCode ?? 1
        }
    }
}
