/// Which audiences a verifier answers to: from configuration, never from the request.
///
/// A `Host` field, or one that a proxy adds, is written by whoever sends the request and could name any
/// recipient that an attacker has a proof for.
public struct ProofAudience: Sendable, Hashable {
    /// Names that proofs for this recipient may carry, compared byte by byte.
    public let names: [String]
    /// Origins under which this recipient is reached, such as `https://orders.example`. A proof's audience
    /// is then the origin and the path of the request that it came with.
    public let origins: [String]

    /// - Throws: ``WorkloadProofError`` `configuration` when both are empty, a name is empty, or an origin is
    ///   not `https://` with a host and perhaps a port.
    public init(names: [String] = [], origins: [String] = []) throws(WorkloadProofError) {
        guard !(names.isEmpty && origins.isEmpty), !names.contains("") else {
            throw WorkloadProofError(
                .configuration, "the verifier has no audience of its own; give it a name or origin")
        }
        for origin in origins where ProofAudience.authority(origin) != origin.utf8.count {
            throw WorkloadProofError(
                .configuration,
                "origin \(SPIFFEIDError.quoted(origin)) is not https:// with a host and nothing else"
            )
        }
        self.names = names
        self.origins = origins
    }

    /// The audience that a client gives a proof by default: the target URI without query and fragment.
    ///
    /// - Parameter targetURI: Absolute, for example `https://orders.example/v1/orders?limit=5`.
    /// - Throws: ``WorkloadProofError`` `channel` when it is not `https`, `request` when it has user
    ///   information or no host.
    public static func forTarget(_ targetURI: String) throws(WorkloadProofError) -> String {
        guard targetURI.utf8.starts(with: ProofAudience.scheme) else {
            throw WorkloadProofError(
                .channel,
                "target \(SPIFFEIDError.quoted(targetURI)) is not https; a WIT-SVID travels over secure channels only"
            )
        }
        guard let end = ProofAudience.authority(targetURI) else {
            throw WorkloadProofError(
                .request, "target \(SPIFFEIDError.quoted(targetURI)) has no plain host")
        }
        let bytes = Array(targetURI.utf8)
        let rest = bytes[end...].prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
        return String(decoding: bytes[..<end] + rest, as: UTF8.self)
    }

    /// Whether a proof with this audience is for this recipient.
    func accepts(_ audience: String, for request: ProofRequest) -> Bool {
        if self.names.contains(where: { $0.utf8.elementsEqual(audience.utf8) }) { return true }
        guard let path = request.path else { return false }
        return self.origins.contains { origin in
            audience.utf8.elementsEqual((origin + path).utf8)
                || path == "/" && audience.utf8.elementsEqual(origin.utf8)
        }
    }

    private static let scheme = Array("https://".utf8)

    /// Where the authority of an `https` URI ends, in bytes; nil when it has none, or user information.
    private static func authority(_ uri: String) -> Int? {
        let bytes = Array(uri.utf8)
        guard bytes.starts(with: self.scheme) else { return nil }
        let authority = bytes[self.scheme.count...].prefix {
            $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#")
        }
        guard !authority.isEmpty,
            authority.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "@") })
        else { return nil }
        return authority.endIndex
    }
}
