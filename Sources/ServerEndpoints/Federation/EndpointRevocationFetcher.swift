package import SPIFFE
package import SPIFFEFederation
package import ServerCore

/// Fetches what lies beside partners' bundles over HTTPS, with the profile of the bundle.
package struct EndpointRevocationFetcher: RevocationListFetching {
    private let client: BundleEndpointClient
    private let bundles: any X509BundleSource

    /// - Parameter bundles: what the server knows of other trust domains now.
    package init(client: BundleEndpointClient, bundles: any X509BundleSource) {
        self.client = client
        self.bundles = bundles
    }

    package func fetch(
        _ document: RevocationDocument, of relationship: FederationRelationship,
        entityTag: String?, waitingUpTo patience: Duration?, maximumBytes: Int
    ) async throws -> FetchedRevocationDocument {
        let (place, mediaType) =
            switch document {
            case .listing: (RevocationListing.name, RevocationListing.mediaType)
            case .crl(let id): (RevocationListing.crlName(id), "application/pkix-crl")
            case .statusList: (RevocationListing.statusListName, StatusListBuilder.mediaType)
            }
        let response = try await self.client.fetch(
            sibling: place, of: try SPIFFEFederation.BundleEndpoint(relationship),
            authenticatingWith: self.bundles, mediaType: mediaType, entityTag: entityTag,
            waitingUpTo: patience, maximumBytes: maximumBytes)
        switch response.content {
        case .document(let bytes):
            return FetchedRevocationDocument(
                .document(bytes), entityTag: response.entityTag, appliedWait: response.appliedWait)
        case .notModified:
            return FetchedRevocationDocument(
                .notModified, entityTag: response.entityTag ?? entityTag,
                appliedWait: response.appliedWait)
        case .absent: return FetchedRevocationDocument(.absent)
        }
    }
}

extension SPIFFEFederation.BundleEndpoint {
    /// The endpoint of a relationship. Our own endpoint has the same name.
    ///
    /// - Throws: ``BundleEndpointError`` `invalidURL`.
    init(_ relationship: FederationRelationship) throws(BundleEndpointError) {
        let profile: BundleEndpointProfile =
            switch relationship.profile {
            case .httpsWeb: .httpsWeb
            case .httpsSPIFFE(let id): .httpsSPIFFE(endpointSPIFFEID: id)
            }
        try self.init(
            trustDomain: relationship.trustDomain, url: relationship.bundleEndpointURL,
            profile: profile)
    }
}

extension BundleEndpointError: RevocationFetchFailure {
    package var mayHaveTransferred: Bool {
        let before: Set<Code> = [
            .invalidURL, .noBundle, .trustRoots, .unreachable, .refusedServer, .redirect, .status,
            .cancelled,
        ]
        return !before.contains(self.code)
    }
}
