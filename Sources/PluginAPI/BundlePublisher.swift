package import SPIFFE

/// Puts the trust domain's bundle where programs outside its reach find it.
///
/// The server calls ``publish(_:)`` at start and after each change, one call at a time for each publisher, and
/// again after an error. An implementation replaces what it published before as a whole or leaves it as it was,
/// bounds how long it takes, and keeps secrets out of its errors.
package protocol BundlePublisher: Sendable {
    /// The plugin's name, such as `aws_s3`.
    var name: String { get }
    /// Where the bundle goes, for logs: a path, a bucket and key. Never a secret.
    var destination: String { get }
    /// Publishes the bundle.
    ///
    /// - Throws: ``BundlePublisherError``, `CancellationError`.
    func publish(_ bundle: SPIFFEBundle) async throws
}

/// Why a bundle could not be published; what was published before still is.
package struct BundlePublisherError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable, Hashable {
        /// Settings or files that the publisher needs are missing or cannot be used.
        case configuration
        /// The bundle cannot be written in the format asked for.
        case format
        /// The other end cannot be reached or is not who it should be.
        case unreachable
        /// The other end answered and refused.
        case refused
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
