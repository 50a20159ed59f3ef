import SPIFFE
package import SPIFFEWorkloadAPI

/// Runs the body with the identity that the agent gives this process; waits at most 10 s for it.
///
/// - Throws: ``Failure`` 3 when the agent gives none, 1 when nobody said where it is.
package func withCityIdentity(
    _ voice: Voice, _ body: (X509Source) async throws -> Void
) async throws {
    do {
        try await withX509Source(readyWithin: .seconds(10)) { source in
            voice.say("I am \(try source.x509SVID().id)")
            try await body(source)
        }
    } catch let error as WorkloadAPIError {
        let isSetup = error.code == .noAddress || error.code == .invalidAddress
        throw Failure(isSetup ? 1 : 3, error.message)
    }
}
