import NIOHTTP1

/// What a request for a document says, as far as an answer may depend on it.
package struct DocumentRequest: Sendable, Hashable {
    /// The path as it was sent, percent-encoding included, without the query.
    package let path: String
    /// The host, with its port when one was named, as it was sent; nil only in HTTP/1.0.
    package let host: String?
    /// The first host of `X-Forwarded-Host`: whom a proxy was asked for.
    package let forwardedHost: String?
    /// `X-Forwarded-Proto` in lower case: how a proxy was asked.
    package let forwardedScheme: String?
    /// `Cygnet-Trust-Domain`: in whose name the document is kept. Anybody can write anything there.
    package let announcedTrustDomain: String?
    /// For how many seconds the client would rather wait than get an answer at once (RFC 7240 §4.3).
    package let preferredWait: Int?
    /// The address of the client, of IPv6 its network; nil on a Unix socket.
    package let client: String?
    /// The values of `If-None-Match`, split at commas, without the mark of weak tags.
    let unwantedTags: [Substring]

    /// Makes a request by hand, for tests of routes.
    package init(
        path: String, host: String? = nil, forwardedHost: String? = nil,
        forwardedScheme: String? = nil, announcedTrustDomain: String? = nil,
        preferredWait: Int? = nil, client: String? = nil, entityTag: String? = nil
    ) {
        self.path = path
        self.host = host
        self.forwardedHost = forwardedHost
        self.forwardedScheme = forwardedScheme
        self.announcedTrustDomain = announcedTrustDomain
        self.preferredWait = preferredWait
        self.client = client
        self.unwantedTags = entityTag.map { [Substring($0)] } ?? []
    }

    /// Nil for a request that RFC 9112 tells to refuse: without `Host` in HTTP/1.1, with several, or with a target
    /// that is neither a path nor an `http` address (§3.2).
    ///
    /// - Parameter client: The address that it comes from.
    init?(_ head: HTTPRequestHead, client: String? = nil) {
        let fields = Fields(head.headers)
        guard fields.hosts <= 1, fields.hosts == 1 || head.version != .http1_1 else { return nil }
        var target = Substring(head.uri)
        var host = fields.host
        // The absolute form, as it is sent to proxies; its host wins over the header.
        if !target.utf8.starts(with: "/".utf8) {
            for scheme in ["http://", "https://"] where target.lowercased().hasPrefix(scheme) {
                let rest = target.dropFirst(scheme.count)
                let authority = rest.prefix { $0 != "/" && $0 != "?" }
                host = String(authority)
                target = rest.dropFirst(authority.count)
                if !target.hasPrefix("/") { target = "/" + target }
                break
            }
        }
        guard target.utf8.first == UInt8(ascii: "/") else { return nil }
        self.path = String(Substring(target.utf8.prefix { $0 != UInt8(ascii: "?") }))
        self.host = host
        self.forwardedHost = Self.first(of: fields.forwardedHost)
        self.forwardedScheme = Self.first(of: fields.forwardedScheme)?.lowercased()
        self.announcedTrustDomain = fields.trustDomain
        self.preferredWait =
            fields.preferences.isEmpty ? nil : PreferredWait.seconds(fields.preferences)
        self.client = client
        self.unwantedTags = fields.unwanted.flatMap(Self.tags)
    }

    /// Whether whoever asks has a document with this entity tag already (RFC 9110 §13.1.2, weak comparison).
    func has(_ entityTag: String) -> Bool {
        self.unwantedTags.contains { $0 == "*" } || self.names(entityTag)
    }

    /// Whether `If-None-Match` names this entity tag, and not just any document with `*`.
    package func names(_ entityTag: String) -> Bool {
        self.unwantedTags.contains { $0.utf8.elementsEqual(entityTag.utf8) }
    }

    /// A comma inside a tag makes parts of it, none of which is a tag of ours.
    private static func tags(_ value: String) -> [Substring] {
        value.utf8.split(separator: UInt8(ascii: ",")).map { part in
            let tag = part.drop(while: Self.isBlank)
            let strong = tag.starts(with: "W/".utf8) ? tag.dropFirst(2) : tag
            return Substring(strong.prefix { !Self.isBlank($0) })
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    private static func first(of value: String?) -> String? {
        guard let text = value?.split(separator: ",").first else { return nil }
        let trimmed = text.split { $0 == " " || $0 == "\t" }.first
        return trimmed.map(String.init)
    }

    /// The header fields that count, found in one pass.
    private struct Fields {
        var hosts = 0
        var host: String?
        var forwardedHost: String?
        var forwardedScheme: String?
        var trustDomain: String?
        var preferences: [String] = []
        var unwanted: [String] = []

        init(_ headers: HTTPHeaders) {
            for (name, value) in headers {
                // Lengths tell the names apart, so that most fields are not compared at all.
                switch name.utf8.count {
                case 4 where Self.isSame(name, "host"):
                    self.hosts += 1
                    if self.hosts == 1 { self.host = value }
                case 6 where Self.isSame(name, "prefer"): self.preferences.append(value)
                case 13 where Self.isSame(name, "if-none-match"): self.unwanted.append(value)
                case 16 where Self.isSame(name, "x-forwarded-host"):
                    if self.forwardedHost == nil { self.forwardedHost = value }
                case 17 where Self.isSame(name, "x-forwarded-proto"):
                    if self.forwardedScheme == nil { self.forwardedScheme = value }
                case 19 where Self.isSame(name, "cygnet-trust-domain"):
                    if self.trustDomain == nil { self.trustDomain = value }
                default: break
                }
            }
        }

        /// Compares without case; names of fields are ASCII, and none of ours has a byte that this confuses.
        private static func isSame(_ name: String, _ ours: StaticString) -> Bool {
            ours.withUTF8Buffer { ours in name.utf8.elementsEqual(ours) { $0 | 0x20 == $1 } }
        }
    }
}
