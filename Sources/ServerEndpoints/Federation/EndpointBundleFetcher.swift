package import SPIFFE
package import SPIFFEFederation
package import ServerCore

/// Fetches partners' bundles over HTTPS.
///
/// Endpoints with the profile `https_spiffe` are verified with the newest bundle of their trust domain: the
/// partner's own, another partner's, or ours.
package struct EndpointBundleFetcher: BundleFetching {
    private let client: BundleEndpointClient
    private let bundles: any X509BundleSource

    /// - Parameter bundles: what the server knows of other trust domains now.
    package init(client: BundleEndpointClient, bundles: any X509BundleSource) {
        self.client = client
        self.bundles = bundles
    }

    package func fetch(
        _ relationship: FederationRelationship, entityTag: String?, waitingUpTo patience: Duration
    ) async throws -> FetchedBundle {
        let response = try await self.client.fetch(
            try SPIFFEFederation.BundleEndpoint(relationship),
            authenticatingWith: self.bundles, entityTag: entityTag, waitingUpTo: patience)
        switch response.content {
        case .bundle(let bundle):
            return FetchedBundle(
                .bundle(bundle), entityTag: response.entityTag, appliedWait: response.appliedWait)
        case .notModified:
            return FetchedBundle(
                .notModified, entityTag: response.entityTag ?? entityTag,
                appliedWait: response.appliedWait)
        }
    }
}
