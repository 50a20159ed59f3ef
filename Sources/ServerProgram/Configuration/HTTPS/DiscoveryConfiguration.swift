import ServerCore
import ServiceRuntime

/// Where and under which names OpenID Connect discovery is served: the block `oidc_discovery` of the server, and the
/// same keys at the top of a file of `oidc-discovery-provider`.
package struct DiscoveryConfiguration: Sendable, Hashable {
    /// What listens, and with which protection.
    package enum Listener: Sendable, Hashable {
        /// `serving_cert_file`: HTTPS.
        case https(ListeningAddress, ServingCertificateConfiguration)
        /// `insecure_addr`: HTTP without TLS, for a proxy on the same machine or for tests.
        case http(ListeningAddress)
        /// `listen_socket_path`: HTTP on a Unix socket, for a proxy.
        case unixSocket(path: String)
    }

    /// `domains`, at least one, as written.
    package var domains: [String]
    /// What listens.
    package var listener: Listener
    /// `jwt_issuer`: the issuer, instead of the address that was asked.
    package var jwtIssuer: String?
    /// `jwks_uri`: where the keys are, instead of beside the document.
    package var jwksURI: String?
    /// `server_path_prefix`.
    package var pathPrefix: String
    /// `allow_insecure_scheme`.
    package var allowsInsecureScheme: Bool
    /// `set_key_use`.
    package var setsKeyUse: Bool

    /// Reads the keys and leaves others to the caller, who also finishes the block.
    ///
    /// - Throws: ``ConfigurationError``.
    init(reading section: inout ConfigurationSection) throws(ConfigurationError) {
        self.domains = try Self.domains(&section)
        self.listener = try Self.listener(&section)
        self.jwtIssuer = try Self.url("jwt_issuer", &section)
        self.jwksURI = try Self.url("jwks_uri", &section)
        self.pathPrefix =
            try section.parsed(
                "server_path_prefix",
                expecting: "a path of unreserved characters, such as \"/spiffe\""
            ) { text in
                text.utf8.allSatisfy(Self.isPathByte) ? text : nil
            } ?? ""
        self.allowsInsecureScheme = try section.boolean("allow_insecure_scheme") ?? false
        self.setsKeyUse = try section.boolean("set_key_use") ?? false
        if case .https = self.listener, self.allowsInsecureScheme {
            throw ConfigurationError(
                .conflict,
                "allow_insecure_scheme at \(section.location(of: "allow_insecure_scheme")) goes with "
                    + "insecure_addr or listen_socket_path only; addresses of an HTTPS listener are https"
            )
        }
    }

    /// The site that the keys describe.
    var site: DiscoverySite {
        DiscoverySite(
            domains: self.domains, issuer: self.jwtIssuer, keysURL: self.jwksURI,
            pathPrefix: self.pathPrefix, allowsInsecureScheme: self.allowsInsecureScheme,
            setsKeyUse: self.setsKeyUse)
    }

    /// The TCP address, if there is one.
    var address: ListeningAddress? {
        switch self.listener {
        case .https(let address, _), .http(let address): address
        case .unixSocket: nil
        }
    }

    private static func domains(
        _ section: inout ConfigurationSection
    ) throws(ConfigurationError) -> [String] {
        guard let domains = try section.strings("domains"), !domains.isEmpty else {
            throw section.missing(
                "domains",
                "list the names under which discovery is asked for, such as [\"oidc.example.org\"]")
        }
        for domain in domains {
            // What is compared is the host of a request without its port, so nothing else can ever match.
            let isName = domain.utf8.allSatisfy { byte in
                Self.isPathByte(byte) && byte != UInt8(ascii: "/") || byte == UInt8(ascii: ":")
            }
            let colons = domain.utf8.count { $0 == UInt8(ascii: ":") }
            guard !domain.isEmpty, isName, colons != 1 else {
                throw ConfigurationError(
                    .invalidValue,
                    "key \"domains\" at \(section.location(of: "domains")): \(QuotedText.quoted(domain)) is no "
                        + "domain; expected a host name in ASCII or an IP address, without scheme and port"
                )
            }
        }
        return domains
    }

    private static func listener(
        _ section: inout ConfigurationSection
    ) throws(ConfigurationError) -> Listener {
        try ServingCertificateConfiguration.refuseACME(&section)
        var found: [(key: String, listener: Listener)] = []
        if var files = try section.section("serving_cert_file") {
            let certificate = try ServingCertificateConfiguration(
                reading: &files, interval: .seconds(60))
            let address = try files.parsed("addr", expecting: Self.addressForm) {
                ListeningAddress($0)
            }
            try files.finish()
            found.append(
                (
                    "serving_cert_file",
                    .https(address ?? ListeningAddress(host: "0.0.0.0", port: 443), certificate)
                ))
        }
        if let address = try section.parsed(
            "insecure_addr", expecting: Self.addressForm, { ListeningAddress($0) })
        {
            found.append(("insecure_addr", .http(address)))
        }
        if let path = try section.string("listen_socket_path").nonEmpty {
            found.append(("listen_socket_path", .unixSocket(path: path)))
        }
        guard let first = found.first else {
            throw section.missing(
                "serving_cert_file", "or use listen_socket_path, or insecure_addr behind a proxy")
        }
        if let second = found.dropFirst().first {
            throw ConfigurationError(
                .conflict,
                "\(second.key) at \(section.location(of: second.key)) and \(first.key) exclude each other"
            )
        }
        return first.listener
    }

    private static let addressForm = "an address and a port, such as \":443\" or \"127.0.0.1:8080\""

    private static func url(
        _ key: String, _ section: inout ConfigurationSection
    ) throws(ConfigurationError) -> String? {
        guard
            let text = try section.parsed(
                key, expecting: "an address such as \"https://oidc.example.org\"",
                { text -> String? in
                    if text.isEmpty { return "" }
                    let scheme = ["https://", "http://"].first { text.hasPrefix($0) }
                    guard let scheme, text.utf8.count > scheme.utf8.count,
                        text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
                        !text.contains("#")
                    else { return nil }
                    return text
                })
        else { return nil }
        return text.isEmpty ? nil : text
    }

    private static func isPathByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "/"):
            true
        default: false
        }
    }
}
