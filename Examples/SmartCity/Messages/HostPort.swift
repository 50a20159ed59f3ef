/// An address on the command line: `127.0.0.1:8443`, `[::1]:8443` or `name:8443`.
package struct HostPort: Sendable, CustomStringConvertible {
    package let host: String
    package let port: Int
    /// As it was written.
    package let description: String

    /// Nil when the text has no host or no port from 0 to 65535.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { return nil }
        self.host = String(host)
        self.port = Int(port)
        self.description = text
    }
}
