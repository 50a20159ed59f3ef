/// The bundles of several trust domains in one document (SPIFFE Trust Domain and Bundle §5).
///
/// All that its publisher says about trust at one moment. One that takes another's place replaces it
/// whole: a trust domain that it leaves out is trusted no more.
public struct SPIFFEBundleMap: X509BundleSource, JWTBundleSource, WITBundleSource, Sendable,
    Equatable
{
    /// The bundles; each under its own trust domain.
    public let bundles: [TrustDomain: SPIFFEBundle]

    /// - Parameter bundles: Of two for one trust domain the last counts.
    public init(_ bundles: some Sequence<SPIFFEBundle> = []) {
        self.bundles = Dictionary(bundles.map { ($0.trustDomain, $0) }) { _, last in last }
    }

    /// Reads a map, whole or not at all; each bundle by the rules of
    /// ``SPIFFEBundle/init(trustDomain:json:onIgnoredKey:)``.
    ///
    /// Refresh hints inside are dropped: they say nothing about the map (§5.1.1). A trust domain that is
    /// there twice fails the map.
    ///
    /// - Parameters:
    ///   - json: The document; the caller bounds its size.
    ///   - onIgnoredKey: Told why a key was left out, for a log.
    /// - Throws: ``BundleError`` `noTrustDomains` or `trustDomain`, or what is wrong with one of the
    ///   bundles.
    public init(
        json: [UInt8], onIgnoredKey: (String) -> Void = { _ in }
    ) throws(BundleError) {
        let value: JSONValue
        do throws(JOSEError) {
            value = try JSONValue(parsing: json)
        } catch {
            throw BundleError(mapRejected: .malformed, error.message)
        }
        guard let named = value["trust_domains"]?.objectValue else {
            throw BundleError(
                mapRejected: .noTrustDomains, "it has no object \"trust_domains\"")
        }
        var bundles: [TrustDomain: SPIFFEBundle] = [:]
        for (name, bundle) in named.sorted(by: { $0.key < $1.key }) {
            let trustDomain: TrustDomain
            do throws(SPIFFEIDError) {
                trustDomain = try TrustDomain(name)
            } catch {
                throw BundleError(mapRejected: .trustDomain, error.message)
            }
            guard var members = bundle.objectValue else {
                throw BundleError(.malformed, trustDomain, "it is no JSON object")
            }
            members["spiffe_refresh_hint"] = nil
            bundles[trustDomain] = try SPIFFEBundle(
                trustDomain: trustDomain, json: JSONValue.object(members).serialized()
            ) { onIgnoredKey("bundle of \(trustDomain): \($0)") }
        }
        self.bundles = bundles
    }

    /// The map as a document to publish, without refresh hints inside. Equal maps give equal bytes.
    public func json() -> [UInt8] {
        var named: [String: JSONValue] = [:]
        for (trustDomain, bundle) in self.bundles {
            var document = bundle.document
            document["spiffe_refresh_hint"] = nil
            named[trustDomain.name] = .object(document)
        }
        return JSONValue.object(["trust_domains": .object(named)]).serialized()
    }

    /// The X.509 authorities of exactly this trust domain; nil when the map has none of it.
    public func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        self.bundles[trustDomain]?.x509Bundle
    }

    /// The JWT authorities of exactly this trust domain; nil when the map has none of it.
    public func jwtBundle(for trustDomain: TrustDomain) -> JWTBundle? {
        self.bundles[trustDomain]?.jwtBundle
    }

    /// The WIT authorities of exactly this trust domain; nil when the map has none of it.
    public func witBundle(for trustDomain: TrustDomain) -> WITBundle? {
        self.bundles[trustDomain]?.witBundle
    }
}
