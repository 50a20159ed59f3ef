package import SPIFFE

/// Turns a process into selectors.
///
/// Implementers read facts from outside the process (kernel, container runtime), never from the
/// process itself, and may block only off the cooperative thread pool. They need not guard against
/// the process ending or changing while they look: the caller compares fingerprints before and
/// after.
package protocol WorkloadAttestor: Sendable {
    /// The attestor's name and the type of all its selectors, such as `unix`.
    var name: String { get }
    /// The selectors of the process; empty when the attestor knows nothing about it.
    ///
    /// - Throws: ``WorkloadAttestorError`` when facts that selectors may rest on could not be read.
    func selectors(of process: any ProcessReference) async throws -> [Selector]
}

/// Why an attestor could not say what a process is.
package struct WorkloadAttestorError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: Hashable, Sendable {
        /// The process has ended.
        case processEnded
        /// A fact could not be read, for instance for want of permission.
        case unreadable
        /// The program file is larger than the configured limit.
        case executableTooLarge
    }

    package let code: Code
    /// For people: what could not be read, and why.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
