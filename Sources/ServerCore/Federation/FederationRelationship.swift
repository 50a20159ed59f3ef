package import SPIFFE

/// What this server was told about a partner: whose bundle to fetch, where, and how the endpoint proves
/// itself (SPIFFE Federation §5.1).
///
/// None of the three is ever guessed from another. A relationship goes one way: that we fetch the
/// partner's bundle does not make the partner trust us.
package struct FederationRelationship: Sendable, Hashable {
    /// How the endpoint is authenticated.
    package enum Profile: Sendable, Hashable {
        /// By a certificate of a public authority that names the host.
        case httpsWeb
        /// By an X509-SVID with exactly this ID, which may lie in another trust domain than the partner's.
        case httpsSPIFFE(endpointID: SPIFFEID)
    }

    /// The partner.
    package let trustDomain: TrustDomain
    /// `https`, with host, without user information or fragment; see ``BundleEndpointAddress``.
    package var bundleEndpointURL: String
    package var profile: Profile

    package init(trustDomain: TrustDomain, bundleEndpointURL: String, profile: Profile) {
        self.trustDomain = trustDomain
        self.bundleEndpointURL = bundleEndpointURL
        self.profile = profile
    }

    /// Checks everything that can be known without asking the partner.
    ///
    /// - Parameter own: the server's own trust domain.
    /// - Throws: ``ServerError`` `invalidArgument` naming what is wrong.
    package func check(own: TrustDomain) throws(ServerError) {
        try Self.checkPartner(self.trustDomain, own: own)
        try BundleEndpointAddress.check(self.bundleEndpointURL)
        if case .httpsSPIFFE(let id) = self.profile, id.hasEmptyPath {
            throw ServerError(
                .invalidArgument,
                "endpoint SPIFFE ID \(quoted(id.string)) rejected: it names a trust domain; an endpoint's ID has "
                    + "a path, such as \(id.string)/spire/server")
        }
    }

    /// Refuses the server's own trust domain as a partner.
    package static func checkPartner(
        _ trustDomain: TrustDomain, own: TrustDomain
    ) throws(ServerError) {
        guard trustDomain != own else {
            throw ServerError(
                .invalidArgument,
                "trust domain \(quoted(trustDomain.name)) is this server's own; name the partner's")
        }
    }

    /// The ID that the endpoint must prove, with the profile `https_spiffe`.
    package var endpointID: SPIFFEID? {
        if case .httpsSPIFFE(let id) = self.profile { id } else { nil }
    }

    /// The profile's name: `https_web` or `https_spiffe`.
    package var profileName: String { self.endpointID == nil ? "https_web" : "https_spiffe" }
}

/// The rules for the URL of a bundle endpoint (SPIFFE Federation §5.2.1.1, §5.2.2.1).
package enum BundleEndpointAddress {
    /// The longest URL that is accepted, in bytes.
    package static let maximumLength = 2_048

    /// - Throws: ``ServerError`` `invalidArgument` with the first rule broken.
    package static func check(_ text: String) throws(ServerError) {
        guard !text.isEmpty else {
            throw ServerError(
                .invalidArgument,
                "bundle endpoint URL is missing; expected one such as https://example.org:8443/bundle"
            )
        }
        guard text.utf8.count <= self.maximumLength else {
            throw ServerError(
                .invalidArgument,
                "bundle endpoint URL has \(text.utf8.count) bytes; at most \(self.maximumLength) are accepted"
            )
        }
        guard text.utf8.allSatisfy(self.mayStandInURL) else {
            throw self.refused(text, "it has a character that must be percent-encoded")
        }
        let scheme = "https://"
        guard text.prefix(scheme.count).lowercased() == scheme else {
            throw self.refused(text, "its scheme must be https")
        }
        let rest = text.utf8.dropFirst(scheme.utf8.count)
        guard !rest.contains(UInt8(ascii: "#")) else {
            throw self.refused(text, "it has a fragment")
        }
        let end = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") }
        let authority = rest[..<(end ?? rest.endIndex)]
        guard !authority.contains(UInt8(ascii: "@")) else {
            throw ServerError(
                .invalidArgument,
                "bundle endpoint URL rejected: it has user information before the host; leave it out"
            )
        }
        try self.check(host: authority, of: text)
    }

    private static func check(host authority: Substring.UTF8View, of text: String)
        throws(ServerError)
    {
        let host: Substring.UTF8View
        var port: Substring.UTF8View?
        if authority.first == UInt8(ascii: "[") {
            guard let close = authority.firstIndex(of: UInt8(ascii: "]")) else {
                throw self.refused(text, "its IPv6 address has no closing bracket")
            }
            host = authority[authority.index(after: authority.startIndex)..<close]
            let after = authority[authority.index(after: close)...]
            guard host.contains(UInt8(ascii: ":")), host.allSatisfy(self.isIPv6Byte) else {
                throw self.refused(text, "there is no IPv6 address between its brackets")
            }
            if !after.isEmpty {
                guard after.first == UInt8(ascii: ":") else {
                    throw self.refused(text, "something other than a port follows its IPv6 address")
                }
                port = after.dropFirst()
            }
        } else if let colon = authority.firstIndex(of: UInt8(ascii: ":")) {
            host = authority[..<colon]
            port = authority[authority.index(after: colon)...]
        } else {
            host = authority
        }
        guard !host.isEmpty else { throw self.refused(text, "it has no host") }
        if authority.first != UInt8(ascii: "["), !host.allSatisfy(self.isHostByte) {
            throw self.refused(text, "its host is no host name and no IP address")
        }
        if let port {
            guard port.count <= 5, let number = Int(String(Substring(port))),
                port.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                (1...65_535).contains(number)
            else { throw self.refused(text, "its port is no number from 1 to 65535") }
        }
    }

    private static func refused(_ text: String, _ reason: String) -> ServerError {
        ServerError(
            .invalidArgument,
            "bundle endpoint URL \(quoted(text)) rejected: \(reason); expected one such as "
                + "https://example.org:8443/bundle")
    }

    private static func mayStandInURL(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x00...0x20, 0x7F...0xFF, UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">"),
            UInt8(ascii: "\\"), UInt8(ascii: "^"), UInt8(ascii: "`"), UInt8(ascii: "{"),
            UInt8(ascii: "|"), UInt8(ascii: "}"):
            false
        default: true
        }
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isIPv6Byte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: ":"):
            true
        default: false
        }
    }
}
