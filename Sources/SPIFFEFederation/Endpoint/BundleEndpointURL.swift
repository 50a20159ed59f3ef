import SPIFFEHTTP

/// Where a bundle endpoint is: an `https` URL with a host and without user information.
///
/// Port, path and query are free (SPIFFE Federation §5.2.1.1, §5.2.2.1). What the URL says plays no part in whose
/// bundle it is: a trust domain is configured, never guessed from a host name.
public struct BundleEndpointURL: Sendable, Hashable, CustomStringConvertible {
    /// The URL as it was given.
    public let string: String
    /// The name or IP address (without brackets) to connect to, in lower case.
    public var host: String { self.parts.origin.host }
    /// The port to connect to; 443 unless the URL says otherwise.
    public var port: Int { self.parts.origin.port }

    let parts: HTTPSURL

    /// Parses a URL.
    ///
    /// - Parameter string: Such as `https://example.org:8443/bundle.json`; no fragment.
    /// - Throws: ``BundleEndpointError`` `invalidURL`.
    public init(_ string: String) throws(BundleEndpointError) {
        func invalid(_ reason: String) -> BundleEndpointError {
            BundleEndpointError(
                .invalidURL,
                "bundle endpoint URL \(BundleEndpointError.quoted(string)) rejected: \(reason)")
        }
        guard !HTTPSURL.mayHaveUserInformation(string) else {
            throw BundleEndpointError(
                .invalidURL,
                "bundle endpoint URL rejected: it has user information before the host; leave it out"
            )
        }
        guard string.utf8.count <= Self.maximumBytes else {
            throw invalid(
                "it has \(string.utf8.count) bytes; at most \(Self.maximumBytes) are allowed")
        }
        guard !string.utf8.contains(UInt8(ascii: "#")) else {
            throw invalid("it has a fragment, which no server ever sees; leave it out")
        }
        do throws(SPIFFEHTTPError) {
            self.parts = try HTTPSURL(string)
        } catch {
            throw invalid(error.message)
        }
        self.string = string
    }

    /// The most bytes of a URL.
    static let maximumBytes = 2048

    public var description: String { self.string }

    public static func == (left: Self, right: Self) -> Bool {
        left.string.utf8.elementsEqual(right.string.utf8)
    }

    public func hash(into hasher: inout Hasher) {
        for byte in self.string.utf8 { hasher.combine(byte) }
    }
}
