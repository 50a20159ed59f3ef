/// Where the X.509 authorities of trust domains come from.
///
/// Answers are asked for at each verification: an implementer hands out what it has now, without
/// blocking, and nil for a trust domain it knows nothing of. Nil means that no X509-SVID of that trust
/// domain is trusted.
public protocol X509BundleSource: Sendable {
    /// The bundle of exactly this trust domain, or nil.
    func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle?
}

/// Where the JWT authorities of trust domains come from; obligations as ``X509BundleSource``.
public protocol JWTBundleSource: Sendable {
    /// The bundle of exactly this trust domain, or nil.
    func jwtBundle(for trustDomain: TrustDomain) -> JWTBundle?
}

extension X509Bundle: X509BundleSource {
    /// Itself for its own trust domain, nil for any other.
    public func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        trustDomain == self.trustDomain ? self : nil
    }
}

extension JWTBundle: JWTBundleSource {
    /// Itself for its own trust domain, nil for any other.
    public func jwtBundle(for trustDomain: TrustDomain) -> JWTBundle? {
        trustDomain == self.trustDomain ? self : nil
    }
}

/// X.509 bundles by trust domain. A bundle that is set replaces the one before it: authorities that it
/// leaves out are trusted no more.
public struct X509BundleSet: X509BundleSource, Sendable, Equatable {
    /// The bundles; each under its own trust domain.
    public private(set) var bundles: [TrustDomain: X509Bundle]

    /// - Parameter bundles: Of two for one trust domain the last counts.
    public init(_ bundles: some Sequence<X509Bundle> = []) {
        self.bundles = Dictionary(bundles.map { ($0.trustDomain, $0) }) { _, last in last }
    }

    /// Sets the bundle of its trust domain.
    public mutating func set(_ bundle: X509Bundle) { self.bundles[bundle.trustDomain] = bundle }

    /// Forgets a trust domain.
    public mutating func remove(_ trustDomain: TrustDomain) { self.bundles[trustDomain] = nil }

    public func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        self.bundles[trustDomain]
    }
}

/// JWT bundles by trust domain; rules as ``X509BundleSet``.
public struct JWTBundleSet: JWTBundleSource, Sendable, Equatable {
    /// The bundles; each under its own trust domain.
    public private(set) var bundles: [TrustDomain: JWTBundle]

    /// - Parameter bundles: Of two for one trust domain the last counts.
    public init(_ bundles: some Sequence<JWTBundle> = []) {
        self.bundles = Dictionary(bundles.map { ($0.trustDomain, $0) }) { _, last in last }
    }

    /// Sets the bundle of its trust domain.
    public mutating func set(_ bundle: JWTBundle) { self.bundles[bundle.trustDomain] = bundle }

    /// Forgets a trust domain.
    public mutating func remove(_ trustDomain: TrustDomain) { self.bundles[trustDomain] = nil }

    public func jwtBundle(for trustDomain: TrustDomain) -> JWTBundle? { self.bundles[trustDomain] }
}
