package import SPIFFE

/// How a published bundle is written.
package enum BundleFormat: String, Sendable, CaseIterable {
    /// A SPIFFE bundle document (Trust Domain and Bundle §4), with sequence number and refresh hint.
    case spiffe
    /// A JWK Set without anything that SPIFFE adds: X.509 and JWT authorities, no `use`. WIT authorities are left
    /// out: without `use` nobody could tell them from JWT authorities.
    case jwks
    /// The X.509 authorities as PEM, one after the other.
    case pem

    /// The bytes to publish. Equal bundles give equal bytes.
    ///
    /// - Parameter refreshHint: For `spiffe`: takes the place of the bundle's own hint.
    /// - Throws: ``BundlePublisherError`` `format` for a bundle without X.509 authorities as `pem`, since an empty
    ///   file means "trust the machine's authorities" to some programs.
    package func document(
        _ bundle: SPIFFEBundle, refreshHint: Duration? = nil
    ) throws(BundlePublisherError) -> [UInt8] {
        switch self {
        case .spiffe:
            guard let refreshHint, refreshHint != bundle.refreshHint else { return bundle.json() }
            do throws(BundleError) {
                return try SPIFFEBundle(
                    trustDomain: bundle.trustDomain, x509Authorities: bundle.x509Authorities,
                    jwtAuthorities: bundle.jwtAuthorities, witAuthorities: bundle.witAuthorities,
                    refreshHint: refreshHint, sequenceNumber: bundle.sequenceNumber
                ).json()
            } catch {
                throw BundlePublisherError(.format, error.message)
            }
        case .jwks:
            return try Self.plainKeys(bundle)
        case .pem:
            guard !bundle.x509Authorities.isEmpty else {
                throw BundlePublisherError(
                    .format,
                    "bundle of \(bundle.trustDomain) has no X.509 authorities; there is nothing to write as PEM"
                )
            }
            return bundle.x509Authorities.flatMap { Self.pem($0) }
        }
    }

    /// The media type that goes with the format.
    package var mediaType: String {
        switch self {
        case .spiffe: "application/json"
        case .jwks: "application/jwk-set+json"
        case .pem: "application/x-pem-file"
        }
    }

    private static func plainKeys(_ bundle: SPIFFEBundle) throws(BundlePublisherError) -> [UInt8] {
        let document: JSONValue
        do throws(JOSEError) {
            document = try JSONValue(parsing: bundle.json())
        } catch {
            throw BundlePublisherError(.format, error.message)
        }
        var keys: [JSONValue] = []
        for key in document["keys"]?.arrayValue ?? [] {
            guard var members = key.objectValue, members["use"]?.stringValue != "wit-svid" else {
                continue
            }
            members["use"] = nil
            keys.append(.object(members))
        }
        return JSONValue.object(["keys": .array(keys)]).serialized()
    }

    /// RFC 7468: 64 characters a line.
    private static func pem(_ der: [UInt8]) -> [UInt8] {
        var text = Array("-----BEGIN CERTIFICATE-----\n".utf8)
        for (index, byte) in Base64.encode(der).utf8.enumerated() {
            if index > 0, index % 64 == 0 { text.append(UInt8(ascii: "\n")) }
            text.append(byte)
        }
        return text + Array("\n-----END CERTIFICATE-----\n".utf8)
    }
}
