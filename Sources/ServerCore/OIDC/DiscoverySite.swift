import SPIFFE

/// Under which names and addresses OpenID Connect discovery is offered, and what it then says.
///
/// Follows SPIRE's `oidc-discovery-provider`: the document is given for the listed domains only, its issuer is the
/// configured one or the address at which it was asked for.
package struct DiscoverySite: Sendable, Hashable {
    /// The domains that may be asked for, in lower case, without port.
    package var domains: Set<String>
    /// The issuer, instead of the address that was asked.
    package var issuer: String?
    /// Where the keys are, instead of beside the document.
    package var keysURL: String?
    /// Stands before both paths; empty, or with a slash at its beginning and none at its end.
    package var pathPrefix: String
    /// Whether addresses begin with `http` where no TLS was used. For tests on one machine.
    package var allowsInsecureScheme: Bool
    /// Whether keys say `"use":"sig"`.
    package var setsKeyUse: Bool

    /// - Parameter pathPrefix: Slashes at its ends do not count.
    package init(
        domains: [String], issuer: String? = nil, keysURL: String? = nil, pathPrefix: String = "",
        allowsInsecureScheme: Bool = false, setsKeyUse: Bool = false
    ) {
        self.domains = Set(domains.map { $0.lowercased() })
        self.issuer = issuer
        self.keysURL = keysURL
        let path = pathPrefix.split(separator: "/").joined(separator: "/")
        self.pathPrefix = path.isEmpty ? "" : "/" + path
        self.allowsInsecureScheme = allowsInsecureScheme
        self.setsKeyUse = setsKeyUse
    }

    /// The path of the document (OpenID Connect Discovery 1.0 §4).
    package var documentPath: String { self.pathPrefix + "/.well-known/openid-configuration" }
    /// The path of the keys.
    package var keysPath: String { self.pathPrefix + "/keys" }

    /// The document for whoever asked for that host; nil when the host is none of the domains.
    ///
    /// - Parameters:
    ///   - host: A domain or an IP address, with or without port.
    ///   - isEncrypted: Whether TLS was used, here or before a proxy.
    package func document(host: String, isEncrypted: Bool) -> DiscoveryDocument? {
        guard let domain = Self.domain(of: host), self.domains.contains(domain) else { return nil }
        let scheme = !isEncrypted && self.allowsInsecureScheme ? "http" : "https"
        let address = "\(scheme)://\(host)"
        return DiscoveryDocument(
            issuer: self.issuer ?? address + self.pathPrefix,
            keysURL: self.keysURL ?? address + self.keysPath)
    }

    /// The domain in lower case, without port and without the brackets of an IPv6 address; nil for anything with
    /// another port than digits.
    static func domain(of host: String) -> String? {
        var rest = Substring(host)
        var domain: Substring
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]") else { return nil }
            domain = rest[..<end].dropFirst()
            rest = rest[end...].dropFirst()
        } else {
            domain = rest.prefix { $0 != ":" }
            rest = rest.dropFirst(domain.count)
        }
        if !rest.isEmpty {
            let port = rest.dropFirst()
            guard rest.hasPrefix(":"), (1...5).contains(port.utf8.count),
                port.utf8.allSatisfy({ (0x30...0x39).contains($0) })
            else { return nil }
        }
        return domain.isEmpty ? nil : domain.lowercased()
    }
}
