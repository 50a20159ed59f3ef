import SPIFFE
import WorkloadAPIProto

/// What the agent's stream says about one trust domain; lists as they came.
struct ReceivedRevocations: Sendable {
    let certificateLists: [[UInt8]]
    let statusLists: [(uri: String, token: String)]
    let revokedTokens: Set<[UInt8]>
}

/// Reads the messages about SVIDs that were taken back.
enum RevocationMessages {
    /// - Throws: ``WorkloadAPIError`` `invalidResponse` when a trust domain or digest is none; lists are not read here.
    static func revocations(
        _ message: Cygnet_Workload_V1_FetchRevocationsResponse
    ) throws(WorkloadAPIError) -> [TrustDomain: ReceivedRevocations] {
        var all: [TrustDomain: ReceivedRevocations] = [:]
        for entry in message.trustDomains {
            guard let trustDomain = try? TrustDomain(entry.trustDomain) else {
                throw WorkloadAPIError(
                    message: "\(WorkloadAPIError.quoted(entry.trustDomain)) in "
                        + "FetchRevocationsResponse is no trust domain")
            }
            guard all[trustDomain] == nil else {
                throw WorkloadAPIError(
                    message: "\(trustDomain) occurs twice in FetchRevocationsResponse")
            }
            guard entry.revokedTokens.allSatisfy({ $0.count == 32 }) else {
                throw WorkloadAPIError(
                    message: "a revoked token of \(trustDomain) is not named by its SHA-256")
            }
            all[trustDomain] = ReceivedRevocations(
                certificateLists: entry.crls.map { [UInt8]($0) },
                statusLists: entry.statusLists.map { ($0.uri, $0.token) },
                revokedTokens: Set(entry.revokedTokens.map { [UInt8]($0) }))
        }
        return all
    }
}

extension RevocationListError {
    static var forged: RevocationListError {
        RevocationListError(.signature, "CRL is not signed by the authority that it names")
    }

    static var noBundle: RevocationListError {
        RevocationListError(.unknownKey, "status list is of a trust domain without JWT bundle")
    }
}

extension WorkloadAPIError {
    /// A list that is not used.
    static func list(_ kind: String, _ error: RevocationListError) -> WorkloadAPIError {
        WorkloadAPIError(
            .invalidResponse, "\(kind) of the Workload API discarded: \(error.message)",
            cause: error)
    }
}
