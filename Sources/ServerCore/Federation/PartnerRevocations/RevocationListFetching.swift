/// A document about what a partner has taken back, by its place beside the bundle.
package enum RevocationDocument: Sendable, Hashable {
    /// Which lists there are.
    case listing
    /// The CRL of the X.509 authority with that ID.
    case crl(authorityID: String)
    /// The Token Status List, a JWT.
    case statusList
}

/// Why a document was not fetched, from a fetcher that knows more of it.
package protocol RevocationFetchFailure: Error {
    /// Whether much of the document may have come before it failed.
    var mayHaveTransferred: Bool { get }
}

/// What a bundle endpoint answered to a request for one.
package struct FetchedRevocationDocument: Sendable {
    /// What the answer says.
    package enum Content: Sendable {
        /// The document's bytes, as they came.
        case document([UInt8])
        /// The document is the one that the entity tag names.
        case notModified
        /// The partner publishes none.
        case absent
    }

    /// What the endpoint answered.
    package let content: Content
    /// Names this state of the document in the next request.
    package let entityTag: String?
    /// As ``FetchedBundle/appliedWait``.
    package let appliedWait: Duration?

    package init(_ content: Content, entityTag: String? = nil, appliedWait: Duration? = nil) {
        self.content = content
        self.entityTag = entityTag
        self.appliedWait = appliedWait
    }
}

/// Gets what lies beside a partner's bundle from its endpoint.
///
/// Implementers authenticate the endpoint as the relationship says, as for the bundle, bound size and time, and end soon
/// when cancelled.
package protocol RevocationListFetching: Sendable {
    /// - Parameters:
    ///   - entityTag: of the document that is at hand; nil to get it in any case.
    ///   - patience: for how long the endpoint may hold the answer back until the document is another one; zero asks
    ///     only whether it can, nil asks nothing.
    ///   - maximumBytes: the longest document that is of use.
    /// - Throws: any error; its description is shown to operators.
    func fetch(
        _ document: RevocationDocument, of relationship: FederationRelationship,
        entityTag: String?, waitingUpTo patience: Duration?, maximumBytes: Int
    ) async throws -> FetchedRevocationDocument
}
