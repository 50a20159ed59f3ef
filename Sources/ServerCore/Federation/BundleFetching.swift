package import SPIFFE

/// What a bundle endpoint answered.
package struct FetchedBundle: Sendable {
    package enum Content: Sendable {
        case bundle(SPIFFEBundle)
        /// The bundle is the one that the entity tag names.
        case notModified
    }

    package let content: Content
    /// Names this state of the bundle in the next request.
    package let entityTag: String?

    package init(_ content: Content, entityTag: String? = nil) {
        self.content = content
        self.entityTag = entityTag
    }
}

/// Gets a partner's bundle from its endpoint.
///
/// Implementers authenticate the endpoint as the relationship says, bound size and time, and end soon when
/// cancelled.
package protocol BundleFetching: Sendable {
    /// - Parameter entityTag: of the bundle that is at hand; nil to get it in any case.
    /// - Throws: any error; its description is shown to operators.
    func fetch(
        _ relationship: FederationRelationship, entityTag: String?
    ) async throws -> FetchedBundle
}
