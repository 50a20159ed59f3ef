/// What a partner's trust domain is trusted with beyond having a bundle: kinds of SVIDs, and paths.
///
/// The operator of our own trust domain sets limits on the server. A bundle cannot carry them, so whoever verifies with it
/// asks here too: verifiers do so by themselves when they know a ``PartnerLimitSource``.
public struct TrustDomainLimits: Sendable {
    /// The most patterns of one trust domain; ten times what our server gives.
    public static let maximumPatterns = 1_000

    /// Whose identities this is about.
    public let trustDomain: TrustDomain
    /// Whether X509-SVIDs are accepted.
    public let allowsX509: Bool
    /// Whether JWT-SVIDs and WIT-SVIDs are accepted.
    public let allowsJWT: Bool
    /// Patterns as they were given; nil accepts every path, none of them accepts nothing.
    public let acceptedPaths: [String]?
    /// False while nobody has said what the limits are.
    let isKnown: Bool
    /// What the patterns say.
    let rule: Authorizer

    /// Limits that are known to be well-formed, such as those of a configuration.
    ///
    /// - Parameters:
    ///   - trustDomain: Whose identities this is about.
    ///   - allowsX509: Whether X509-SVIDs are accepted.
    ///   - allowsJWT: Whether JWT-SVIDs and WIT-SVIDs are accepted.
    ///   - acceptedPaths: Patterns as of ``Authorizer/path(_:in:)``; nil accepts every path, an empty list nothing.
    /// - Throws: ``AuthorizationError`` `pattern` for a pattern that could match nothing, and for more than
    ///   ``maximumPatterns``.
    public init(
        of trustDomain: TrustDomain, allowsX509: Bool = true, allowsJWT: Bool = true,
        acceptedPaths: [String]? = nil
    ) throws(AuthorizationError) {
        let (limits, problem) = TrustDomainLimits.reading(
            of: trustDomain, allowsX509: allowsX509, allowsJWT: allowsJWT,
            acceptedPaths: acceptedPaths)
        if let problem { throw problem }
        self = limits
    }

    /// Limits from elsewhere. A pattern that cannot be read accepts nothing and costs no other pattern; too many of them
    /// accept nothing at all.
    ///
    /// - Returns: The limits, and the first problem that there was.
    package static func reading(
        of trustDomain: TrustDomain, allowsX509: Bool, allowsJWT: Bool, acceptedPaths: [String]?
    ) -> (limits: TrustDomainLimits, problem: AuthorizationError?) {
        var problem: AuthorizationError?
        var paths = acceptedPaths
        var rule = Authorizer.member(of: trustDomain)
        if let acceptedPaths {
            var rules: [Authorizer] = []
            if acceptedPaths.count > self.maximumPatterns {
                paths = []
                problem = AuthorizationError(
                    .pattern,
                    "\(trustDomain) is limited by \(acceptedPaths.count) path patterns; at most "
                        + "\(self.maximumPatterns) are accepted")
            }
            for pattern in paths ?? [] {
                do throws(AuthorizationError) {
                    rules.append(try .path(pattern, in: trustDomain))
                } catch {
                    problem = problem ?? error
                }
            }
            rule = .anyOf(rules)
        }
        let limits = TrustDomainLimits(
            trustDomain: trustDomain, allowsX509: allowsX509, allowsJWT: allowsJWT,
            acceptedPaths: paths, isKnown: true, rule: rule)
        return (limits, problem)
    }

    private init(
        trustDomain: TrustDomain, allowsX509: Bool, allowsJWT: Bool, acceptedPaths: [String]?,
        isKnown: Bool, rule: Authorizer
    ) {
        self.trustDomain = trustDomain
        self.allowsX509 = allowsX509
        self.allowsJWT = allowsJWT
        self.acceptedPaths = acceptedPaths
        self.isKnown = isKnown
        self.rule = rule
    }

    /// Stands for limits that somebody will tell and has not told yet: accepts nothing until then.
    public static func unknown(of trustDomain: TrustDomain) -> TrustDomainLimits {
        TrustDomainLimits(
            trustDomain: trustDomain, allowsX509: false, allowsJWT: false, acceptedPaths: [],
            isKnown: false, rule: .anyOf([]))
    }

    /// Whether the path of this identity is accepted, whatever the kind of its SVID. False for identities of every other
    /// trust domain.
    public func accepts(_ id: SPIFFEID) -> Bool {
        do throws(AuthorizationError) {
            try self.rule.authorize(id)
            return true
        } catch {
            return false
        }
    }
}

extension TrustDomainLimits: Hashable {
    // The rule follows from the patterns.
    public static func == (left: TrustDomainLimits, right: TrustDomainLimits) -> Bool {
        left.trustDomain == right.trustDomain && left.allowsX509 == right.allowsX509
            && left.allowsJWT == right.allowsJWT && left.acceptedPaths == right.acceptedPaths
            && left.isKnown == right.isKnown
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.trustDomain)
        hasher.combine(self.allowsX509)
        hasher.combine(self.allowsJWT)
        hasher.combine(self.acceptedPaths)
        hasher.combine(self.isKnown)
    }
}
