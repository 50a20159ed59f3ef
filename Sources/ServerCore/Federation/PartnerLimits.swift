package import SPIFFE

/// What a partner's trust domain is trusted with, beyond having its bundle.
///
/// A bundle vouches for every identity of its trust domain. Limits narrow that: to paths, and to kinds of SVIDs.
package struct PartnerLimits: Sendable {
    /// What authorities of a partner may be used for.
    package struct Uses: OptionSet, Sendable, Hashable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Verifying X509-SVIDs.
        package static let x509 = Uses(rawValue: 1)
        /// Verifying JWT-SVIDs.
        package static let jwt = Uses(rawValue: 2)
        package static let all: Uses = [.x509, .jwt]

        /// - Parameter names: `x509` and `jwt`; none means both.
        /// - Throws: ``ServerError`` `invalidArgument` for any other.
        package init(names: [String]) throws(ServerError) {
            self = names.isEmpty ? .all : []
            for name in names {
                switch name {
                case "x509": self.insert(.x509)
                case "jwt": self.insert(.jwt)
                default:
                    throw ServerError(
                        .invalidArgument, "use \(quoted(name)) is not known; expected x509 or jwt")
                }
            }
        }

        /// As ``init(names:)`` reads them.
        package var names: [String] {
            (self.contains(.x509) ? ["x509"] : []) + (self.contains(.jwt) ? ["jwt"] : [])
        }
    }

    /// The most patterns of one partner.
    package static let maximumPatterns = 100

    package let trustDomain: TrustDomain
    /// Patterns of accepted paths as they were given; nil accepts every path.
    package let acceptedPaths: [String]?
    /// Without a use its authorities are not handed out.
    package let uses: Uses
    private let authorizer: Authorizer

    /// - Parameters:
    ///   - acceptedPaths: In each `*` stands for one whole segment, and `**` at the end for one or more:
    ///     `/agents/*`, `/ns/*/sa/web`, `/grid/**`. An empty list accepts nothing; nil everything.
    /// - Throws: ``ServerError`` `invalidArgument` for a pattern that could match nothing.
    package init(
        trustDomain: TrustDomain, acceptedPaths: [String]? = nil, uses: Uses = .all
    ) throws(ServerError) {
        self.trustDomain = trustDomain
        self.acceptedPaths = acceptedPaths
        self.uses = uses
        guard let acceptedPaths else {
            self.authorizer = .member(of: trustDomain)
            return
        }
        guard acceptedPaths.count <= Self.maximumPatterns else {
            throw ServerError(
                .invalidArgument,
                "partner \(trustDomain) has \(acceptedPaths.count) path patterns; at most "
                    + "\(Self.maximumPatterns) are accepted")
        }
        var rules: [Authorizer] = []
        for pattern in acceptedPaths {
            do throws(AuthorizationError) {
                rules.append(try .path(pattern, in: trustDomain))
            } catch {
                throw ServerError(.invalidArgument, "partner \(trustDomain): \(error.message)")
            }
        }
        self.authorizer = .anyOf(rules)
    }

    /// - Throws: ``ServerError`` `invalidArgument` for the server's own trust domain, and without any use: who trusts a
    ///   partner with nothing ends the relationship.
    package func check(own: TrustDomain) throws(ServerError) {
        try FederationRelationship.checkPartner(self.trustDomain, own: own)
        guard !self.uses.isEmpty else {
            throw ServerError(
                .invalidArgument,
                "partner \(self.trustDomain) is left no use; expected x509, jwt or both")
        }
    }

    /// Whether this identity of the partner counts here for that use.
    ///
    /// False for identities of every other trust domain.
    package func accepts(_ id: SPIFFEID, for use: Uses) -> Bool {
        guard id.isMember(of: self.trustDomain), !use.isEmpty, self.uses.isSuperset(of: use) else {
            return false
        }
        do throws(AuthorizationError) {
            try self.authorizer.authorize(id)
            return true
        } catch {
            return false
        }
    }

    /// The bundle with the authorities that may be used. Paths cannot be taken out of a bundle: whoever verifies
    /// with it asks ``accepts(_:for:)`` too.
    ///
    /// WIT authorities go with `jwt`: both are keys for signed tokens.
    package func limited(_ bundle: TrustBundle) -> TrustBundle {
        guard bundle.trustDomain == self.trustDomain else { return bundle }
        var result = bundle
        if !self.uses.contains(.x509) { result.x509Authorities = [] }
        if !self.uses.contains(.jwt) {
            result.jwtAuthorities = []
            result.witAuthorities = []
        }
        return result
    }
}

extension PartnerLimits: Hashable {
    package static func == (left: PartnerLimits, right: PartnerLimits) -> Bool {
        left.trustDomain == right.trustDomain && left.acceptedPaths == right.acceptedPaths
            && left.uses == right.uses
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(self.trustDomain)
        hasher.combine(self.acceptedPaths)
        hasher.combine(self.uses)
    }
}
