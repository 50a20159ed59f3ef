import SPIFFE
import WorkloadAPIProto

/// What the agent's stream says about partners' limits.
struct ReceivedPartnerLimits: Sendable {
    /// All trust domains that the message speaks of.
    let trustDomains: Set<TrustDomain>
    /// Those that have some.
    let limits: [TrustDomain: TrustDomainLimits]
    /// The first thing in them that could not be read, and so accepts nothing.
    let problem: WorkloadAPIError?

    /// Unknown for a trust domain that the message does not speak of; nil where there are none.
    func limits(of trustDomain: TrustDomain) -> TrustDomainLimits? {
        if let limits = self.limits[trustDomain] { return limits }
        return self.trustDomains.contains(trustDomain) ? nil : .unknown(of: trustDomain)
    }
}

/// Reads the messages about partners' limits.
enum PartnerLimitMessages {
    /// The most trust domains that a message may speak of.
    static let maximumTrustDomains = 10_000

    /// A pattern that cannot be read, or too many of them, cost their own trust domain only.
    ///
    /// - Throws: ``WorkloadAPIError`` `invalidResponse` when a trust domain is none or occurs twice, or when there are
    ///   more than ``maximumTrustDomains``.
    static func limits(
        _ message: Cygnet_Workload_V1_FetchPartnerLimitsResponse
    ) throws(WorkloadAPIError) -> ReceivedPartnerLimits {
        let count = max(message.limits.count, message.trustDomains.count)
        guard count <= self.maximumTrustDomains else {
            throw WorkloadAPIError(
                message: "FetchPartnerLimitsResponse speaks of \(count) trust domains; at most "
                    + "\(self.maximumTrustDomains) are accepted")
        }
        var trustDomains: Set<TrustDomain> = []
        for name in message.trustDomains { trustDomains.insert(try self.trustDomain(name)) }
        var all: [TrustDomain: TrustDomainLimits] = [:]
        var firstProblem: WorkloadAPIError?
        for entry in message.limits {
            let trustDomain = try self.trustDomain(entry.trustDomain)
            guard all[trustDomain] == nil else {
                throw WorkloadAPIError(
                    message: "\(trustDomain) occurs twice in FetchPartnerLimitsResponse")
            }
            let (limits, problem) = TrustDomainLimits.reading(
                of: trustDomain, allowsX509: entry.x509, allowsJWT: entry.jwt,
                acceptedPaths: entry.limitsPaths ? entry.acceptedPaths : nil)
            all[trustDomain] = limits
            if let problem, firstProblem == nil {
                firstProblem = WorkloadAPIError(
                    .invalidResponse,
                    "limits of \(trustDomain) cannot be read, and what cannot be read accepts "
                        + "nothing: \(problem.message)", cause: problem)
            }
        }
        return ReceivedPartnerLimits(
            trustDomains: trustDomains, limits: all, problem: firstProblem)
    }

    private static func trustDomain(_ name: String) throws(WorkloadAPIError) -> TrustDomain {
        do throws(SPIFFEIDError) { return try TrustDomain(name) } catch {
            throw WorkloadAPIError(
                message: "\(WorkloadAPIError.quoted(name)) in FetchPartnerLimitsResponse is no "
                    + "trust domain: \(error.message)")
        }
    }
}
