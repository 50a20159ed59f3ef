import NIOConcurrencyHelpers
package import SPIFFE
package import ServerCore

/// Places beside bundles that answer as the test says.
package final class ScriptedRevocationEndpoints: RevocationListFetching {
    /// A request that has arrived.
    package struct Request: Sendable, Hashable {
        package let trustDomain: TrustDomain
        package let document: RevocationDocument
        package let entityTag: String?
        /// For how long it may be held back; nil when nothing was asked about that.
        package let patience: Duration?
        package let maximumBytes: Int
    }

    package typealias Answer = @Sendable (Request) async throws -> FetchedRevocationDocument

    private struct State {
        var answers: [TrustDomain: Answer] = [:]
        var requests: [Request] = []
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    package var requests: [Request] { self.state.withLockedValue { $0.requests } }

    /// Sets how the places of that trust domain answer; they have nothing at first.
    package func answer(_ trustDomain: TrustDomain, _ answer: @escaping Answer) {
        self.state.withLockedValue { $0.answers[trustDomain] = answer }
    }

    /// Serves a listing and lists, by document.
    package func serve(
        _ trustDomain: TrustDomain, _ documents: [RevocationDocument: [UInt8]],
        appliedWait: Duration? = nil
    ) {
        self.answer(trustDomain) { request in
            guard let bytes = documents[request.document] else {
                return FetchedRevocationDocument(.absent)
            }
            let tag = EntityTag.of(bytes)
            if request.entityTag == tag {
                // As an endpoint that holds the answer back until the time is over.
                if let patience = request.patience, patience > .zero, appliedWait != nil {
                    try await Task.sleep(for: patience)
                }
                return FetchedRevocationDocument(
                    .notModified, entityTag: tag, appliedWait: appliedWait)
            }
            return FetchedRevocationDocument(
                .document(bytes), entityTag: tag, appliedWait: appliedWait)
        }
    }

    package func fetch(
        _ document: RevocationDocument, of relationship: FederationRelationship,
        entityTag: String?, waitingUpTo patience: Duration?, maximumBytes: Int
    ) async throws -> FetchedRevocationDocument {
        let request = Request(
            trustDomain: relationship.trustDomain, document: document, entityTag: entityTag,
            patience: patience, maximumBytes: maximumBytes)
        let answer = self.state.withLockedValue { state in
            state.requests.append(request)
            return state.answers[relationship.trustDomain]
        }
        guard let answer else { return FetchedRevocationDocument(.absent) }
        return try await answer(request)
    }
}
