import ArgumentParser
import ControlPlaneProto
import ServiceRuntime
import SwiftProtobuf

/// The flags that `federation create` and `federation update` share.
struct RelationshipFlags: ParsableArguments {
    @Option(name: .go("trustDomain"), parsing: .unconditional, help: "The partner's trust domain.")
    var trustDomain = ""

    @Option(
        name: .go("bundleEndpointURL"), parsing: .unconditional,
        help: "Where the partner's bundle is, https://…")
    var bundleEndpointURL = ""

    @Option(
        name: .go("bundleEndpointProfile"), parsing: .unconditional,
        help: "How the endpoint proves itself: https_web or https_spiffe.")
    var bundleEndpointProfile = ""

    @Option(
        name: .go("endpointSpiffeID"), parsing: .unconditional,
        help: "The SPIFFE ID of the endpoint, with https_spiffe.")
    var endpointSPIFFEID = ""

    @Option(
        name: .go("trustDomainBundlePath"), parsing: .unconditional,
        help: "File with the partner's bundle, for the first contact.")
    var trustDomainBundlePath = ""

    @Option(
        name: .go("trustDomainBundleFormat"), parsing: .unconditional,
        help: "Format of that bundle: pem or spiffe.")
    var trustDomainBundleFormat = BundleTextFormat.pem

    @Option(
        name: .go("data"), parsing: .unconditional,
        help: "JSON file with relationships, or - for standard input.")
    var data = ""

    /// What the flags, or the file of `-data`, ask for.
    func relationships() throws -> [Spire_Api_Types_FederationRelationship] {
        let hasFlags = [
            self.trustDomain, self.bundleEndpointURL, self.bundleEndpointProfile,
            self.endpointSPIFFEID, self.trustDomainBundlePath,
        ].contains { !$0.isEmpty }
        guard self.data.isEmpty else {
            if hasFlags {
                throw CommandError(
                    "-data and the flags that describe a relationship exclude each other")
            }
            return try RelationshipInput.read(try InputFile.document(self.data))
        }
        for (flag, value) in [
            ("trustDomain", self.trustDomain), ("bundleEndpointURL", self.bundleEndpointURL),
            ("bundleEndpointProfile", self.bundleEndpointProfile),
        ]
        where value.isEmpty {
            throw CommandError(
                "-\(flag) is required",
                hints: [
                    "cygnet-server federation create -trustDomain example.org -bundleEndpointURL https://example.org:8443 "
                        + "-bundleEndpointProfile https_web"
                ])
        }
        var relationship = Spire_Api_Types_FederationRelationship()
        relationship.trustDomain = self.trustDomain
        relationship.bundleEndpointURL = self.bundleEndpointURL
        relationship.bundleEndpointProfile = try RelationshipInput.profile(
            self.bundleEndpointProfile, endpointID: self.endpointSPIFFEID)
        if !self.trustDomainBundlePath.isEmpty {
            relationship.trustDomainBundle = try BundleInput.read(
                self.trustDomainBundlePath, format: self.trustDomainBundleFormat,
                of: self.trustDomain)
        }
        return [relationship]
    }
}

/// Relationships as a file describes them.
enum RelationshipInput {
    /// Reads `{"federationRelationships": [ … ]}`, the input of `-data`.
    static func read(
        _ document: ConfigurationDocument
    ) throws -> [Spire_Api_Types_FederationRelationship] {
        var root = try document.section()
        guard let sections = try root.list("federationRelationships") else {
            throw root.missing(
                "federationRelationships",
                "expected {\"federationRelationships\": [{\"trustDomain\": …}]}")
        }
        try root.finish()
        return try sections.map { try self.relationship($0) }
    }

    private static func relationship(
        _ section: ConfigurationSection
    ) throws -> Spire_Api_Types_FederationRelationship {
        var section = section
        var relationship = Spire_Api_Types_FederationRelationship()
        for (key, path) in [
            ("trustDomain", \Spire_Api_Types_FederationRelationship.trustDomain),
            ("bundleEndpointURL", \.bundleEndpointURL),
        ] {
            guard let text = try section.string(key), !text.isEmpty else {
                throw section.missing(key, "each relationship needs it")
            }
            relationship[keyPath: path] = text
        }
        guard let profile = try section.string("bundleEndpointProfile") else {
            throw section.missing(
                "bundleEndpointProfile", "it is https_web or https_spiffe, and never guessed")
        }
        do {
            relationship.bundleEndpointProfile = try self.profile(
                profile, endpointID: try section.string("endpointSPIFFEID") ?? "")
        } catch let error as CommandError {
            throw CommandError("\(section.location): \(error.message)")
        }
        let format = try section.choice(
            "trustDomainBundleFormat", among: BundleTextFormat.allCases.map(\.rawValue))
        if let text = try section.document("trustDomainBundle"), !text.isEmpty {
            relationship.trustDomainBundle = try BundleInput.parse(
                Array(text.utf8), format: format.flatMap(BundleTextFormat.init) ?? .pem,
                of: relationship.trustDomain,
                source: "\(section.location(of: "trustDomainBundle"))")
        }
        try section.finish()
        return relationship
    }

    static func profile(
        _ name: String, endpointID: String
    ) throws(CommandError)
        -> Spire_Api_Types_FederationRelationship.OneOf_BundleEndpointProfile
    {
        switch name {
        case "https_web":
            guard endpointID.isEmpty else {
                throw CommandError(
                    "an endpoint SPIFFE ID belongs to the profile https_spiffe; https_web has none")
            }
            return .httpsWeb(Spire_Api_Types_HTTPSWebProfile())
        case "https_spiffe":
            guard !endpointID.isEmpty else {
                throw CommandError(
                    "the profile https_spiffe needs the SPIFFE ID of the endpoint",
                    hints: ["-endpointSpiffeID spiffe://example.org/spire/server"])
            }
            return .httpsSpiffe(.with { $0.endpointSpiffeID = endpointID })
        default:
            throw CommandError(
                "profile \(QuotedText.quoted(name)) is not known; expected https_web or https_spiffe"
            )
        }
    }
}
