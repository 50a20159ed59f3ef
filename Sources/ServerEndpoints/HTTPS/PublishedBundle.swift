import Logging
import NIOConcurrencyHelpers
import ServerCore
import ServiceRuntime

/// The bundle endpoint's one document, made once per change of the bundle and kept in memory.
final class PublishedBundle: Sendable {
    private struct State {
        /// Of the bundle that was looked at last, whether it could be published or not.
        var sequenceNumber: UInt64?
        var response: DocumentResponse?
        /// Of the bundle in the response.
        var publishedNumber: UInt64?
    }

    private let directory: Directory
    private let refreshHint: Duration
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    init(_ directory: Directory, refreshHint: Duration, logger: Logger) {
        self.directory = directory
        self.refreshHint = refreshHint
        self.logger = logger
    }

    /// The document of now. A bundle that cannot be published leaves the one before it in place.
    var response: DocumentResponse { self.current.response }

    /// The document of now, and the sequence number of the bundle in it; nil when there is none.
    var current: (response: DocumentResponse, sequenceNumber: UInt64?) {
        guard let bundle = self.directory.ownBundle else { return (Self.unavailable, nil) }
        return self.state.withLockedValue { state in
            // Two event loops may come here out of order; the sequence never goes back.
            if state.sequenceNumber.map({ $0 < bundle.sequenceNumber }) ?? true {
                state.sequenceNumber = bundle.sequenceNumber
                do {
                    let document = try BundleDocument(bundle, refreshHint: self.refreshHint)
                    state.response = DocumentResponse(
                        contentType: "application/json", body: document.bytes,
                        entityTag: document.entityTag)
                    state.publishedNumber = bundle.sequenceNumber
                } catch {
                    self.logger.error(
                        "cannot publish the bundle; the one before it stays published",
                        metadata: [
                            LogKeys.seq: "\(bundle.sequenceNumber)",
                            LogKeys.error: "\(error)",
                        ])
                }
            }
            return (state.response ?? Self.unavailable, state.publishedNumber)
        }
    }

    private static let unavailable = DocumentResponse.refusal(503, "there is no bundle yet")
}
