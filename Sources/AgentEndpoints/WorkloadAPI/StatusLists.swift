import AgentCore
import NIOConcurrencyHelpers
import SPIFFE

/// What the agent holds of status lists, as a source for the validation of one token.
struct HeldStatusLists: RevocationSource {
    let identities: WorkloadIdentities
    /// The keys that the caller may verify tokens with.
    let bundles: JWTBundleSet
    let lists: StatusListCache

    func revocations(for trustDomain: TrustDomain) -> TrustDomainRevocations? {
        let tokens = self.identities.statusLists(of: trustDomain)
        guard !tokens.isEmpty, let bundle = self.bundles.jwtBundle(for: trustDomain) else {
            return nil
        }
        return TrustDomainRevocations(
            trustDomain: trustDomain, statusLists: self.lists.lists(tokens, bundle))
    }
}

/// Status lists, read and verified once for as long as they do not change; only those that somebody asks for.
final class StatusListCache: Sendable {
    private struct Known {
        let token: String
        let bundle: JWTBundle
        /// The last one that was good; of an earlier token when this one is not.
        let list: StatusList?
    }

    private let known = NIOLockedValueBox<[TrustDomain: [String: Known]]>([:])

    /// The lists that can be read and that the trust domain has signed; for a new one that is bad, the last good one of
    /// its name.
    ///
    /// - Parameter tokens: All of the trust domain, by their names.
    func lists(_ tokens: [String: String], _ bundle: JWTBundle) -> [StatusList] {
        let before = self.known.withLockedValue { $0[bundle.trustDomain] ?? [:] }
        var read: [String: Known] = [:]
        for (uri, token) in tokens {
            if let known = before[uri], known.token == token, known.bundle == bundle {
                read[uri] = known
            } else {
                let list = try? StatusList(token: token, uri: uri, bundle: bundle)
                read[uri] = Known(
                    token: token, bundle: bundle, list: list ?? before[uri]?.list)
            }
        }
        self.known.withLockedValue { [read] in $0[bundle.trustDomain] = read }
        return read.values.compactMap(\.list)
    }
}
