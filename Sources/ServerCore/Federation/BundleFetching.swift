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
    /// For how long the endpoint says it would have held the answer back, or has; nil when it does not do that.
    package let appliedWait: Duration?

    package init(_ content: Content, entityTag: String? = nil, appliedWait: Duration? = nil) {
        self.content = content
        self.entityTag = entityTag
        self.appliedWait = appliedWait
    }
}

/// Gets a partner's bundle from its endpoint.
///
/// Implementers authenticate the endpoint as the relationship says, bound size and time, and end soon when
/// cancelled.
package protocol BundleFetching: Sendable {
    /// - Parameters:
    ///   - entityTag: of the bundle that is at hand; nil to get it in any case.
    ///   - patience: for how long the endpoint may hold the answer back until its bundle is another one; zero asks only
    ///     whether it can.
    /// - Throws: any error; its description is shown to operators.
    func fetch(
        _ relationship: FederationRelationship, entityTag: String?, waitingUpTo patience: Duration
    ) async throws -> FetchedBundle
}
