package import SPIFFE
package import ServerCore
import ServiceRuntime

/// The block `federates_with "<trust domain>"`: a partner whose bundle is fetched.
package struct PartnerConfiguration: Sendable, Hashable {
    /// How a bootstrap bundle is written.
    package enum BundleFormat: String, CaseIterable, Sendable, Hashable {
        case pem, spiffe
    }

    /// The partner, its endpoint, and how that proves itself.
    package var relationship: FederationRelationship
    /// `bootstrap_bundle_path`: believed until the first bundle was fetched; nil for none.
    package var bootstrapPath: String?
    /// `bootstrap_bundle_format`.
    package var bootstrapFormat = BundleFormat.pem
    /// `accepted_paths` and `uses`: what the partner is trusted with; nil without either.
    package var limits: PartnerLimits?
    /// Where the block stands, for messages.
    package let place: String

    package var trustDomain: TrustDomain { self.relationship.trustDomain }

    static func read(
        _ label: String, _ section: ConfigurationSection
    ) throws(ConfigurationError) -> PartnerConfiguration {
        var block = section
        let place = "\(block.location)"
        let trustDomain: TrustDomain
        do throws(SPIFFEIDError) {
            trustDomain = try TrustDomain(nameOrID: label)
        } catch {
            throw ConfigurationError(
                .invalidValue,
                "federates_with \(QuotedText.quoted(label)) at \(place): \(error.message)")
        }
        let url = try block.parsed(
            "bundle_endpoint_url", expecting: "a URL such as \"https://example.org:8443\""
        ) { text in
            try BundleEndpointAddress.check(text)
            return text
        }
        guard let url else {
            throw block.missing("bundle_endpoint_url", "it says where the partner's bundle is")
        }
        let profiles = try block.labelledSections("bundle_endpoint_profile")
        guard let (name, profile) = profiles.first else {
            throw block.missing(
                "bundle_endpoint_profile",
                "write bundle_endpoint_profile \"https_web\" {} or \"https_spiffe\" { endpoint_spiffe_id = … }"
            )
        }
        if let second = profiles.dropFirst().first {
            throw ConfigurationError(
                .conflict,
                "\(second.section.name) at \(second.section.location) is one too many; a partner has one profile"
            )
        }
        var partner = PartnerConfiguration(
            relationship: FederationRelationship(
                trustDomain: trustDomain, bundleEndpointURL: url,
                profile: try Self.profile(name, profile)),
            place: place)
        try partner.readBootstrap(&block)
        try partner.readLimits(&block)
        try block.finish()
        return partner
    }

    private mutating func readBootstrap(
        _ block: inout ConfigurationSection
    ) throws(ConfigurationError) {
        let path = try block.string("bootstrap_bundle_path")
        self.bootstrapPath = path.flatMap { $0.isEmpty ? nil : $0 }
        let format = try block.choice(
            "bootstrap_bundle_format", among: BundleFormat.allCases.map(\.rawValue))
        if let format, let known = BundleFormat(rawValue: format) { self.bootstrapFormat = known }
        if format != nil, self.bootstrapPath == nil {
            throw block.missing("bootstrap_bundle_path", "bootstrap_bundle_format belongs to it")
        }
        if self.bootstrapPath != nil, self.relationship.endpointID == nil {
            throw ConfigurationError(
                .conflict,
                "key \"bootstrap_bundle_path\" of \(block.name) at "
                    + "\(block.location(of: "bootstrap_bundle_path")): an endpoint with the profile https_web is "
                    + "verified with public authorities; leave the key out")
        }
    }

    private mutating func readLimits(
        _ block: inout ConfigurationSection
    ) throws(ConfigurationError) {
        let paths = try block.strings("accepted_paths")
        let uses = try block.strings("uses")
        if paths == nil, uses == nil { return }
        if uses?.isEmpty == true {
            throw ConfigurationError(
                .invalidValue,
                "key \"uses\" of \(block.name) at \(block.location(of: "uses")) is empty; expected \"x509\", "
                    + "\"jwt\" or both")
        }
        do {
            self.limits = try PartnerLimits(
                trustDomain: self.trustDomain, acceptedPaths: paths,
                uses: try PartnerLimits.Uses(names: uses ?? []))
        } catch {
            throw ConfigurationError(
                .invalidValue, "limits of \(block.name) at \(self.place): \(error.message)")
        }
    }

    private static func profile(
        _ name: String, _ section: ConfigurationSection
    ) throws(ConfigurationError) -> FederationRelationship.Profile {
        var block = section
        switch name {
        case "https_web":
            try block.finish()
            return .httpsWeb
        case "https_spiffe":
            let id = try block.parsed(
                "endpoint_spiffe_id",
                expecting: "a SPIFFE ID such as \"spiffe://example.org/spire/server\""
            ) { text in try SPIFFEID(text) }
            guard let id else {
                throw block.missing(
                    "endpoint_spiffe_id", "it names whom the endpoint must prove to be")
            }
            try block.finish()
            return .httpsSPIFFE(endpointID: id)
        default:
            throw ConfigurationError(
                .invalidValue,
                "bundle_endpoint_profile \(QuotedText.quoted(name)) at \(block.location) is not known; expected "
                    + "\"https_web\" or \"https_spiffe\"")
        }
    }

    /// Checks what depends on the server's own trust domain.
    func check(own: String) throws(ConfigurationError) {
        do {
            try self.relationship.check(own: try TrustDomain(own))
        } catch {
            throw ConfigurationError(
                .invalidValue, "federates_with \"\(self.trustDomain)\" at \(self.place): \(error)")
        }
    }
}
