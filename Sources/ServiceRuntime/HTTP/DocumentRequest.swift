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
    /// The values of `If-None-Match`, split at commas, without the mark of weak tags.
    let unwantedTags: [Substring]

    /// Makes a request by hand, for tests of routes.
    package init(
        path: String, host: String? = nil, forwardedHost: String? = nil,
        forwardedScheme: String? = nil
    ) {
        self.path = path
        self.host = host
        self.forwardedHost = forwardedHost
        self.forwardedScheme = forwardedScheme
        self.unwantedTags = []
    }

    /// Nil for a request that RFC 9112 tells to refuse: without `Host` in HTTP/1.1, with several, or with a target
    /// that is neither a path nor an `http` address (§3.2).
    init?(_ head: HTTPRequestHead) {
        let hosts = head.headers["host"]
        guard hosts.count <= 1, hosts.count == 1 || head.version != .http1_1 else { return nil }
        var target = Substring(head.uri)
        var host = hosts.first
        // The absolute form, as it is sent to proxies; its host wins over the header.
        for scheme in ["http://", "https://"] where target.lowercased().hasPrefix(scheme) {
            let rest = target.dropFirst(scheme.count)
            let authority = rest.prefix { $0 != "/" && $0 != "?" }
            host = String(authority)
            target = rest.dropFirst(authority.count)
            if !target.hasPrefix("/") { target = "/" + target }
            break
        }
        guard target.hasPrefix("/") else { return nil }
        self.path = String(target.prefix { $0 != "?" })
        self.host = host
        self.forwardedHost = Self.first(of: head.headers["x-forwarded-host"])
        self.forwardedScheme = Self.first(of: head.headers["x-forwarded-proto"])?.lowercased()
        // A comma inside a tag makes parts of it, none of which is a tag of ours.
        self.unwantedTags = head.headers["if-none-match"].flatMap { value in
            value.split(separator: ",").map { part in
                let tag = part.drop { $0 == " " || $0 == "\t" }
                let strong = tag.hasPrefix("W/") ? tag.dropFirst(2) : tag
                return strong.prefix { $0 != " " && $0 != "\t" }
            }
        }
    }

    /// Whether whoever asks has a document with this entity tag already (RFC 9110 §13.1.2, weak comparison).
    func has(_ entityTag: String) -> Bool {
        self.unwantedTags.contains { $0 == "*" || $0.utf8.elementsEqual(entityTag.utf8) }
    }

    private static func first(of values: [String]) -> String? {
        guard let text = values.first?.split(separator: ",").first else { return nil }
        let trimmed = text.split { $0 == " " || $0 == "\t" }.first
        return trimmed.map(String.init)
    }
}
