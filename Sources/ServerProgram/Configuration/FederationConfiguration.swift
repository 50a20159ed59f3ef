import SPIFFE
package import ServerCore
import ServiceRuntime

/// The block `federation`: what partners of other trust domains are offered, and which partners there are.
package struct FederationConfiguration: Sendable, Hashable {
    /// `bundle_endpoint`; nil serves none.
    package var bundleEndpoint: BundleEndpointConfiguration?
    /// `federates_with`, in the order of the file; each trust domain once.
    package var partners: [PartnerConfiguration] = []
    /// `trust_domain_group`, by name.
    package var groups = TrustDomainGroups.none
    /// What is worth telling the operator.
    package var notes: [String] = []

    /// Nothing is offered.
    package init() {}

    /// Reads the block.
    ///
    /// - Throws: ``ConfigurationError``.
    init(_ section: ConfigurationSection) throws(ConfigurationError) {
        var block = section
        if let endpoint = try block.section("bundle_endpoint") {
            let (configuration, notes) = try BundleEndpointConfiguration.read(endpoint)
            self.bundleEndpoint = configuration
            self.notes += notes
        }
        for (label, partner) in try block.labelledSections("federates_with") {
            let partner = try PartnerConfiguration.read(label, partner)
            if let first = self.partners.first(where: { $0.trustDomain == partner.trustDomain }) {
                throw ConfigurationError(
                    .duplicateKey,
                    "federates_with \(QuotedText.quoted(label)) at \(partner.place) names a trust domain that appeared "
                        + "before at \(first.place)")
            }
            self.partners.append(partner)
        }
        self.groups = try Self.groups(&block)
        try block.finish()
        self.notes += block.notes
    }

    private static func groups(
        _ block: inout ConfigurationSection
    ) throws(ConfigurationError) -> TrustDomainGroups {
        var groups: [String: Set<TrustDomain>] = [:]
        for (name, section) in try block.labelledSections("trust_domain_group") {
            var section = section
            let place = "trust_domain_group \(QuotedText.quoted(name)) at \(section.location)"
            guard groups[name] == nil else {
                throw ConfigurationError(.duplicateKey, "\(place): the name appeared before")
            }
            guard let names = try section.strings("trust_domains") else {
                throw section.missing("trust_domains", "it lists the members of the group")
            }
            try section.finish()
            var members: Set<TrustDomain> = []
            for member in names {
                do throws(SPIFFEIDError) {
                    members.insert(try TrustDomain(nameOrID: member))
                } catch {
                    throw ConfigurationError(.invalidValue, "\(place): \(error.message)")
                }
            }
            groups[name] = members
            do throws(ServerError) {
                _ = try TrustDomainGroups([name: members])
            } catch {
                throw ConfigurationError(.invalidValue, "\(place): \(error.message)")
            }
        }
        do throws(ServerError) {
            return try TrustDomainGroups(groups)
        } catch {
            throw ConfigurationError(
                .invalidValue, "\(block.name) at \(block.location): \(error.message)")
        }
    }
}

/// The block `bundle_endpoint`: where and how the server's own bundle is served.
package struct BundleEndpointConfiguration: Sendable, Hashable {
    /// With which certificate (SPIFFE Federation §5.2).
    package enum Profile: Sendable, Hashable {
        /// The server's own X509-SVID.
        case httpsSPIFFE
        /// A certificate in files.
        case httpsWeb(ServingCertificateConfiguration)
    }

    /// `address`, default `0.0.0.0`, and `port`, default 443.
    package var address = ListeningAddress(host: "0.0.0.0", port: 443)
    /// `refresh_hint`, default 5 minutes: how often partners shall look.
    package var refreshHint = Duration.seconds(300)
    /// `url`: under which partners reach the endpoint, for invites; nil when it does not say.
    package var url: String?
    /// `profile`.
    package var profile = Profile.httpsSPIFFE
    /// `acknowledgement_timeout`, default 5 seconds: how long a new authority waits for partners that follow the bundle
    /// to have it; 0 waits for none.
    package var acknowledgementTimeout = Duration.seconds(5)

    /// The defaults.
    package init() {}

    static func read(
        _ section: ConfigurationSection
    ) throws(ConfigurationError) -> (BundleEndpointConfiguration, [String]) {
        var block = section
        var configuration = BundleEndpointConfiguration()
        var notes: [String] = []
        configuration.address.host =
            try block.string("address").nonEmpty ?? configuration.address.host
        configuration.address.port =
            try block.integer("port", in: 0...65535) ?? configuration.address.port
        configuration.url = try block.parsed(
            "url", expecting: "a URL such as \"https://example.org:8443\""
        ) { text in
            try BundleEndpointAddress.check(text)
            return text
        }
        if let hint = try block.duration("refresh_hint", atLeast: .seconds(1)) {
            configuration.refreshHint = hint
            if hint < .seconds(60) || hint > .seconds(86_400) {
                notes.append(
                    "refresh_hint of \(block.name) at \(block.location(of: "refresh_hint")) is "
                        + "\(GoDuration.format(hint)); many partners poll once a minute at most, and one that "
                        + "polls less than once a day may miss a rotation")
            }
        }
        if let timeout = try block.duration("acknowledgement_timeout", atLeast: .zero) {
            // The time also goes by when somebody only pretends to be a partner.
            guard timeout <= .seconds(60) else {
                throw ConfigurationError(
                    .invalidValue,
                    "acknowledgement_timeout of \(block.name) at "
                        + "\(block.location(of: "acknowledgement_timeout")) is \(GoDuration.format(timeout)); "
                        + "at most 1m is accepted")
            }
            configuration.acknowledgementTimeout = timeout
        }
        try ServingCertificateConfiguration.refuseACME(&block)
        let profiles = try block.labelledSections("profile")
        if let second = profiles.dropFirst().first {
            throw ConfigurationError(
                .conflict,
                "\(second.section.name) at \(second.section.location) is one too many; a bundle endpoint has "
                    + "one profile")
        }
        if let (label, section) = profiles.first {
            configuration.profile = try Self.profile(label, section)
        } else {
            notes.append(
                "\(block.name) at \(block.location) has no profile; https_spiffe is used, write "
                    + "profile \"https_spiffe\" {} to say so")
        }
        try block.finish()
        return (configuration, notes + block.notes)
    }

    /// What an invite says of it.
    package var published: OwnBundleEndpoint {
        OwnBundleEndpoint(profileName: self.profileName, url: self.url ?? self.addressURL)
    }

    private var profileName: String {
        switch self.profile {
        case .httpsSPIFFE: "https_spiffe"
        case .httpsWeb: "https_web"
        }
    }

    /// An address that is not "all of them" is one that partners may reach; which name leads to it is never guessed.
    private var addressURL: String? {
        let host = self.address.host
        guard !["0.0.0.0", "::", ""].contains(host), self.address.port != 0 else { return nil }
        return "https://\(host.contains(":") ? "[\(host)]" : host):\(self.address.port)/"
    }

    private static func profile(
        _ label: String, _ section: ConfigurationSection
    ) throws(ConfigurationError) -> Profile {
        var block = section
        switch label {
        case "https_spiffe":
            try block.finish()
            return .httpsSPIFFE
        case "https_web":
            try ServingCertificateConfiguration.refuseACME(&block)
            guard var files = try block.section("serving_cert_file") else {
                throw block.missing(
                    "serving_cert_file", "it names the certificate that the endpoint serves with")
            }
            let certificate = try ServingCertificateConfiguration(
                reading: &files, interval: .seconds(3_600))
            try files.finish()
            try block.finish()
            return .httpsWeb(certificate)
        default:
            throw ConfigurationError(
                .invalidValue,
                "profile \(QuotedText.quoted(label)) at \(block.location) is not known; expected "
                    + "\"https_spiffe\" or \"https_web\"")
        }
    }
}
