import NIOConcurrencyHelpers
package import SPIFFE
package import ServerCore
package import ServiceRuntime

/// The listing of the lists of what was taken back, beside the bundle: one question for partners, and something to wait
/// for. Made once per publication.
package final class RevocationListingRoute: Sendable {
    private struct Made {
        let number: UInt64
        let response: DocumentResponse?
    }

    /// Where it is.
    package static let path = "/" + RevocationListing.name

    private let trustDomain: TrustDomain
    private let statusListURI: String?
    private let lists: @Sendable () -> RevocationLists
    private let observe: @Sendable (@escaping @Sendable () -> Void) -> Void
    private let made = NIOLockedValueBox<Made?>(nil)

    /// - Parameters:
    ///   - statusListURI: The name of the status list; nil when there is none.
    ///   - observe: Has its argument called after each publication.
    ///   - lists: Gives those of now; asked at each request, on an event loop.
    package init(
        _ trustDomain: TrustDomain, statusListURI: String?,
        observe: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void = { _ in },
        lists: @escaping @Sendable () -> RevocationLists
    ) {
        self.trustDomain = trustDomain
        self.statusListURI = statusListURI
        self.observe = observe
        self.lists = lists
    }

    /// The listing of the lists that a publisher publishes.
    package convenience init(_ publisher: RevocationPublisher, of trustDomain: TrustDomain) {
        self.init(
            trustDomain, statusListURI: publisher.statusListURI,
            observe: { publisher.onPublication($0) }, lists: { publisher.lists })
    }

    /// Has `body` called when there may be another listing.
    func onChange(_ body: @escaping @Sendable () -> Void) { self.observe(body) }

    /// The answer to a request; nil for other paths, and where nothing is published.
    package func response(to request: DocumentRequest) -> DocumentResponse? {
        guard request.path == Self.path else { return nil }
        let lists = self.lists()
        // Before the first publication nobody can say that there is none.
        if lists.number == 0 { return Self.unavailable }
        return self.made.withLockedValue { made in
            if let made, made.number == lists.number { return made.response }
            let bytes = RevocationListing.document(
                of: lists, trustDomain: self.trustDomain, statusListURI: self.statusListURI)
            let response = bytes.map {
                DocumentResponse(
                    contentType: RevocationListing.mediaType, body: $0,
                    entityTag: EntityTag.of($0))
            }
            made = Made(number: lists.number, response: response)
            return response
        }
    }

    private static let unavailable = DocumentResponse.refusal(503, "there are no lists yet")
}
