package import ServerCore
import ServiceRuntime

/// The block `revocation`: the signed lists of what was taken back, and where they are.
package struct RevocationConfiguration: Sendable, Hashable {
    /// Not `disable_crls`: whether X.509 authorities sign CRLs.
    package var signsCRLs = true
    /// `crl_distribution_url`: stands before `/<authority ID>.crl` in X509-SVIDs; nil leaves the extension out.
    package var crlDistributionURL: String?
    /// `status_list_url`: the status list, as it is named in tokens; nil makes none.
    package var statusListURL: String?
    /// `crl_ttl`, default 5 minutes: how long a list is valid, of either kind. A new one comes at half of it.
    package var listTTL = Duration.seconds(300)
    /// `max_live_svids_per_agent` and `max_live_svids_per_entry`: what a revocation of one agent can put on lists.
    package var liveLimits = LiveLimits()
    /// `address`, default `0.0.0.0`, and `port`: HTTP without TLS; nil serves the lists beside the bundle only.
    package var address: ListeningAddress?
    /// What is worth telling the operator.
    package var notes: [String] = []

    /// CRLs for those who have a Workload API or look beside the bundle.
    package init() {}

    /// The CRL of so many is as long as one that messages to workloads have room for.
    private static let manyLiveSVIDs = 65_536

    /// Reads the block.
    ///
    /// - Throws: ``ConfigurationError``.
    init(_ section: ConfigurationSection) throws(ConfigurationError) {
        var block = section
        self.signsCRLs = try block.boolean("disable_crls") != true
        self.crlDistributionURL = try Self.url("crl_distribution_url", &block, isPrefix: true)
        self.statusListURL = try Self.url("status_list_url", &block, isPrefix: false)
        self.listTTL = try block.duration("crl_ttl", atLeast: .seconds(10)) ?? self.listTTL
        let most = 0...10_000_000
        self.liveLimits.perAgent =
            try block.integer("max_live_svids_per_agent", in: most) ?? self.liveLimits.perAgent
        self.liveLimits.perEntry =
            try block.integer("max_live_svids_per_entry", in: most) ?? self.liveLimits.perEntry
        let host = try block.string("address").nonEmpty
        if let port = try block.integer("port", in: 0...65535) {
            self.address = ListeningAddress(host: host ?? "0.0.0.0", port: port)
        } else if host != nil {
            throw block.missing("port", "address alone says not where the lists are served")
        }
        if self.crlDistributionURL != nil, !self.signsCRLs {
            throw ConfigurationError(
                .conflict,
                "crl_distribution_url at \(block.location(of: "crl_distribution_url")) and disable_crls exclude each "
                    + "other: certificates would name lists that nobody signs")
        }
        if self.crlDistributionURL?.hasPrefix("https://") == true {
            self.notes.append(
                "crl_distribution_url at \(block.location(of: "crl_distribution_url")) is an https address; many "
                    + "programs fetch CRLs over http only, and CRLs are signed anyway")
        }
        if self.listTTL > .seconds(86_400) {
            self.notes.append(
                "crl_ttl at \(block.location(of: "crl_ttl")) is \(GoDuration.format(self.listTTL)); whoever keeps an "
                    + "old list from being replaced can hide a revocation that long")
        }
        if self.liveLimits.perAgent == 0 || self.liveLimits.perAgent > Self.manyLiveSVIDs {
            self.notes.append(
                "max_live_svids_per_agent at \(block.location(of: "max_live_svids_per_agent")): a stolen agent can "
                    + "make CRLs that clients of the Workload API do not take")
        }
        try block.finish()
        self.notes += block.notes
    }

    /// Checks what depends on other blocks.
    ///
    /// - Throws: ``ConfigurationError``.
    func check(issuesJWTSVIDs: Bool) throws(ConfigurationError) {
        guard self.statusListURL != nil, !issuesJWTSVIDs else { return }
        throw ConfigurationError(
            .conflict,
            "status_list_url of revocation and disable_jwt_svids exclude each other: a JWT authority signs the list"
        )
    }

    /// What to tell an operator whose addresses nobody serves here.
    ///
    /// - Parameter isBesideBundle: whether there is a bundle endpoint.
    func advice(isBesideBundle: Bool) -> [String] {
        let names = [
            self.crlDistributionURL.map { _ in "crl_distribution_url" },
            self.statusListURL.map { _ in "status_list_url" },
        ].compactMap { $0 }
        guard !names.isEmpty, !isBesideBundle, self.address == nil else { return [] }
        return [
            "\(names.joined(separator: " and ")) of revocation: nothing here serves the lists; set port of revocation, "
                + "or federation.bundle_endpoint, and have the address lead there"
        ]
    }

    /// An address without query and fragment; empty counts as absent.
    ///
    /// - Parameter isPrefix: whether slashes at its end are left out.
    private static func url(
        _ key: String, _ section: inout ConfigurationSection, isPrefix: Bool
    ) throws(ConfigurationError) -> String? {
        let example =
            isPrefix ? "http://crl.example.org/crl" : "https://example.org/statuslist"
        return try section.parsed(key, expecting: "an address such as \"\(example)\"") {
            text -> String? in
            if text.isEmpty { return "" }
            guard let scheme = ["https://", "http://"].first(where: { text.hasPrefix($0) }),
                let first = text.dropFirst(scheme.count).utf8.first, first != UInt8(ascii: "/"),
                text.utf8.count <= 1_024,
                text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
                !text.contains(where: { "#?\"<>\\".contains($0) })
            else { return nil }
            var rest = Substring(text)
            while isPrefix, rest.hasSuffix("/") { rest.removeLast() }
            return String(rest)
        }.nonEmpty
    }
}
