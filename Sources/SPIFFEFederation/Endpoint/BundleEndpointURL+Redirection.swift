import SPIFFEHTTP

extension BundleEndpointURL {
    /// Where a redirection leads to (RFC 3986 §5.2), if that is a URL of a bundle endpoint: never to plain HTTP and never
    /// with user information.
    ///
    /// - Parameter location: The value of the `location` header. A fragment is dropped.
    /// - Throws: ``BundleEndpointError`` `invalidURL`.
    package func redirected(to location: String) throws(BundleEndpointError) -> BundleEndpointURL {
        let reference = location.prefix { $0 != "#" }
        let origin = "https://\(self.parts.authority)"
        if Self.hasScheme(reference) { return try BundleEndpointURL(String(reference)) }
        if reference.hasPrefix("//") { return try BundleEndpointURL("https:" + reference) }
        let (basePath, baseQuery) = Self.split(self.parts.target[...])
        let (path, query) = Self.split(reference)
        let target: String
        if path.isEmpty {
            target = basePath + (query.isEmpty ? baseQuery : query)
        } else if path.hasPrefix("/") {
            target = Self.withoutDots(path) + query
        } else {
            let folder = basePath[...(basePath.lastIndex(of: "/") ?? basePath.startIndex)]
            target = Self.withoutDots(folder + path) + query
        }
        return try BundleEndpointURL(origin + target)
    }

    private static func hasScheme(_ reference: Substring) -> Bool {
        let scheme = reference.prefix { !":/?".contains($0) }
        return scheme.endIndex < reference.endIndex && reference[scheme.endIndex] == ":"
    }

    /// Path and query; the query has its question mark.
    private static func split(_ target: Substring) -> (path: String, query: String) {
        let cut = target.firstIndex(of: "?") ?? target.endIndex
        return (String(target[..<cut]), String(target[cut...]))
    }

    /// An absolute path without `.` and `..` (RFC 3986 §5.2.4).
    private static func withoutDots(_ path: String) -> String {
        var kept: [Substring] = []
        let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            switch segment {
            case ".": if isLast { kept.append("") }
            case "..":
                _ = kept.popLast()
                if isLast { kept.append("") }
            default: kept.append(segment)
            }
        }
        return "/" + kept.joined(separator: "/")
    }
}
