/// An `https` address, taken apart.
package struct HTTPSURL: Hashable, Sendable {
    /// What connections are shared by.
    package struct Origin: Hashable, Sendable {
        /// A name or an IP address, without brackets.
        package let host: String
        /// 1 to 65535.
        package let port: Int

        /// The origin in its one form: lower case, brackets around IPv6, and a port unless it is 443.
        var text: String {
            let host = self.host.contains(":") ? "[\(self.host)]" : self.host
            return "https://\(host)" + (self.port == 443 ? "" : ":\(self.port)")
        }
    }

    /// Where to connect to.
    package let origin: Origin
    /// The value of the `host` header.
    package let authority: String
    /// Path and query, at least `/`.
    package let target: String

    /// Parses an absolute URL. Only `https` is taken: everything else would carry identities and tokens in the
    /// clear, or not to where they belong.
    ///
    /// - Throws: ``SPIFFEHTTPError`` `insecureURL` or `invalidURL`.
    package init(_ url: String) throws(SPIFFEHTTPError) {
        func invalid(_ reason: String) -> SPIFFEHTTPError {
            SPIFFEHTTPError(.invalidURL, "URL \(SPIFFEHTTPError.quoted(url)) \(reason)")
        }
        // Never quoted: what stands before "@" is a password as often as not.
        guard !Self.mayHaveUserInformation(url) else {
            throw SPIFFEHTTPError(
                .invalidURL, "URL rejected: it has user information before the host; leave it out")
        }
        guard url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw invalid("has a character that must be percent-encoded")
        }
        guard let end = url.firstRange(of: "://"), end.lowerBound > url.startIndex else {
            throw invalid("is not absolute; expected https://host/path")
        }
        guard url[..<end.lowerBound].lowercased() == "https" else {
            throw SPIFFEHTTPError(
                .insecureURL,
                "URL \(SPIFFEHTTPError.quoted(url)) is not https; nothing is sent there")
        }
        let rest = url[end.upperBound...]
        let cut = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
        let authority = String(rest[..<cut])
        guard let origin = Self.origin(authority) else {
            throw invalid("has no valid host and port")
        }
        // What follows "#" is for the client alone.
        let target = String(rest[cut...].prefix { $0 != "#" })
        self.origin = origin
        self.authority = authority
        self.target = target.hasPrefix("/") ? target : "/" + target
    }

    /// Whether there is an "@" before the path; also of what is no URL.
    package static func mayHaveUserInformation(_ url: String) -> Bool {
        let start = url.firstRange(of: "://")?.upperBound ?? url.startIndex
        return url[start...].prefix { !"/?#".contains($0) }.contains("@")
    }

    private static func origin(_ authority: String) -> Origin? {
        var host = authority[...]
        var port = 443
        let isAddress = authority.hasPrefix("[")
        // In an IPv6 address the last colon ends the host only behind the bracket.
        if let colon = authority.lastIndex(of: ":"),
            !isAddress || authority[..<colon].hasSuffix("]")
        {
            let digits = authority[authority.index(after: colon)...]
            guard let number = Int(digits), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                (1...65535).contains(number)
            else { return nil }
            port = number
            host = authority[..<colon]
        }
        if isAddress {
            guard host.hasSuffix("]") else { return nil }
            host = host.dropFirst().dropLast()
            guard !host.isEmpty, host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }) else {
                return nil
            }
        } else {
            guard !host.isEmpty,
                host.utf8.allSatisfy({ byte in
                    (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
                        || (0x61...0x7A).contains(byte) || [0x2D, 0x2E, 0x5F].contains(byte)
                })
            else { return nil }
        }
        return Origin(host: String(host).lowercased(), port: port)
    }
}
