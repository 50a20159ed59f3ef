package import SPIFFE

/// What a partner's bundle may be used for, as the server says.
///
/// Paths cannot be taken out of a bundle, so this agent holds them against what it verifies itself. Workloads that verify
/// with the bundle on their own are not bound by them.
package struct BundleLimits: Sendable {
    /// Whether X509-SVIDs may be verified with it; workloads that verify those do not get it otherwise.
    package let allowsX509: Bool
    /// Whether JWT-SVIDs and WIT-SVIDs may be verified with it.
    package let allowsJWT: Bool
    /// Patterns as the server sent them; nil accepts every path.
    package let acceptedPaths: [String]?
    private let authorizer: Authorizer

    /// - Parameter acceptedPaths: See ``Authorizer/path(_:in:)``. A pattern that cannot be read accepts nothing.
    package init(
        of trustDomain: TrustDomain, allowsX509: Bool = true, allowsJWT: Bool = true,
        acceptedPaths: [String]? = nil
    ) {
        self.allowsX509 = allowsX509
        self.allowsJWT = allowsJWT
        self.acceptedPaths = acceptedPaths
        guard let acceptedPaths else {
            self.authorizer = .member(of: trustDomain)
            return
        }
        var rules: [Authorizer] = []
        for pattern in acceptedPaths {
            do throws(AuthorizationError) {
                rules.append(try .path(pattern, in: trustDomain))
            } catch {}
        }
        self.authorizer = .anyOf(rules)
    }

    /// Whether the path of this identity is accepted.
    package func accepts(_ id: SPIFFEID) -> Bool {
        do throws(AuthorizationError) {
            try self.authorizer.authorize(id)
            return true
        } catch {
            return false
        }
    }
}

extension BundleLimits: Hashable {
    // The rule follows from the patterns and the bundle that they are kept with.
    package static func == (left: BundleLimits, right: BundleLimits) -> Bool {
        left.allowsX509 == right.allowsX509 && left.allowsJWT == right.allowsJWT
            && left.acceptedPaths == right.acceptedPaths
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(self.allowsX509)
        hasher.combine(self.allowsJWT)
        hasher.combine(self.acceptedPaths)
    }
}
