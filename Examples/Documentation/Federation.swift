import SPIFFE
import SPIFFEFederation
import SPIFFEWorkloadAPI

/// The code of the article on federated bundles.
enum Federation {
    static func endpoints() throws -> [BundleEndpoint] {
        let partner = try BundleEndpoint(
            trustDomain: try TrustDomain("partner.example"),
            url: "https://bundles.partner.example/spiffe", profile: .httpsWeb)
        let supplier = try BundleEndpoint(
            trustDomain: try TrustDomain("supplier.example"),
            url: "https://spire.supplier.example:8443",
            profile: .httpsSPIFFE(
                endpointSPIFFEID: try SPIFFEID("spiffe://supplier.example/spire/server")))
        return [partner, supplier]
    }

    static func fetch() async throws {
        let partner = try BundleEndpoint(
            trustDomain: try TrustDomain("partner.example"),
            url: "https://bundles.partner.example/spiffe", profile: .httpsWeb)
        let response = try await BundleEndpointClient().fetch(
            partner, authenticatingWith: X509BundleSet())
        print(response.entityTag ?? "")
    }

    static func keepFresh(_ partner: BundleEndpoint, _ chain: [[UInt8]]) async throws {
        let source = FederatedBundleSource(endpoints: [partner])
        try await source.whileRunning { source in
            try await source.ready(within: .seconds(30))
            let verifier = X509SVIDVerifier(bundles: source)
            print(try await verifier.verify(chainDER: chain).id)
        }
    }

    static func bootstrap(
        _ partner: BundleEndpoint, _ supplier: BundleEndpoint, _ stored: [UInt8]
    ) throws -> FederatedBundleSource {
        let known = try SPIFFEBundle(trustDomain: supplier.trustDomain, json: stored)
        return FederatedBundleSource(endpoints: [partner, supplier], bootstrap: [known])
    }

    static func bootstrapPEM(_ supplier: BundleEndpoint, _ pem: String) throws -> SPIFFEBundle {
        let roots = try X509Bundle(trustDomain: supplier.trustDomain, pem: pem)
        return try SPIFFEBundle(
            trustDomain: supplier.trustDomain, x509Authorities: roots.authoritiesDER)
    }

    static func store(
        _ source: FederatedBundleSource, _ save: (TrustDomain, [UInt8]) throws -> Void
    ) async throws {
        for await bundles in source.updates {
            for (trustDomain, bundle) in bundles { try save(trustDomain, bundle.json()) }
        }
    }

    static func status(_ source: FederatedBundleSource) {
        for partner in source.status {
            print(partner.endpoint.trustDomain, partner.sequenceNumber ?? 0, partner.age() ?? .zero)
            if let error = partner.lastError { print(error) }
        }
    }
}
