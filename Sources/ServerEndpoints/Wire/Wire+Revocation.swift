import ControlPlaneProto
import SPIFFE
import ServerCore
import SwiftProtobuf

/// Revocations from and to wire messages.
extension Wire {
    static func draft(
        _ request: Cygnet_Revocation_V1_CreateRevocationRequest, trustDomain: TrustDomain
    ) throws(ServerError) -> RevocationRegistry.Draft {
        guard request.hasTarget else {
            throw ServerError(.invalidArgument, "target is missing; name what is to be revoked")
        }
        var draft = RevocationRegistry.Draft(try self.target(request.target, trustDomain))
        draft.andChildren = request.andChildren
        draft.isSuspension = request.suspension
        draft.isReplacement = request.replace
        draft.reason = request.reason
        guard request.expiresAt >= 0 else {
            throw ServerError(
                .invalidArgument,
                "expires_at \(request.expiresAt) refused: it must be a Unix time, or 0 for never")
        }
        draft.expiresAt = request.expiresAt
        return draft
    }

    private static func target(
        _ message: Cygnet_Revocation_V1_Target, _ trustDomain: TrustDomain
    ) throws(ServerError) -> RevocationTarget {
        func parse(
            _ kind: RevocationTarget.Kind, _ value: String
        ) throws(ServerError) -> RevocationTarget {
            try RevocationTarget(type: kind, value: value, trustDomain: trustDomain)
        }
        switch message.target {
        case .spiffeID(let value): return try parse(.spiffeID, value)
        case .pathPrefix(let value): return try parse(.pathPrefix, value)
        case .entryID(let value): return try parse(.entryID, value)
        case .serial(let value): return try parse(.serial, value)
        case .jti(let value): return try parse(.jti, value)
        case .agentID(let value): return try parse(.agentID, value)
        case .selector(let selector):
            // Not by way of text, in which a colon of the type would become one of the value.
            guard let parsed = try self.selectors([selector]).first else {
                throw ServerError(.invalidArgument, "selector is missing")
            }
            return .selector(parsed)
        case .authorityID(let value): return try parse(.authorityID, value)
        case .workload:
            throw ServerError(
                .invalidArgument,
                "target workload refused: agents report the end of workloads; revoke the entry or the agent instead"
            )
        case nil:
            throw ServerError(
                .invalidArgument, "target is empty, or of a kind that this server does not know")
        }
    }

    static func message(_ target: RevocationTarget) -> Cygnet_Revocation_V1_Target {
        .with {
            switch target {
            case .spiffeID(let id): $0.spiffeID = id.string
            case .pathPrefix(let prefix): $0.pathPrefix = prefix
            case .entryID(let id): $0.entryID = id
            case .serial(let serial): $0.serial = serial
            case .jti(let jti): $0.jti = jti
            case .agentID(let id): $0.agentID = id.string
            case .selector(let selector): $0.selector = self.message(selector)
            case .authorityID(let id): $0.authorityID = id
            case .workload(let entryID, let agent):
                $0.workload = .with {
                    $0.entryID = entryID
                    $0.agentID = agent.string
                }
            }
        }
    }

    static func message(_ revocation: Revocation) -> Cygnet_Revocation_V1_Revocation {
        .with {
            $0.id = revocation.id
            $0.target = self.message(revocation.target)
            $0.andChildren = revocation.andChildren
            $0.suspension = revocation.isSuspension
            $0.replace = revocation.isReplacement
            $0.reason = revocation.reason
            $0.caller = revocation.caller
            $0.createdAt = revocation.createdAt
            $0.expiresAt = revocation.expiresAt
        }
    }

    static func message(_ hits: RevocationHits) -> Cygnet_Revocation_V1_Hits {
        .with {
            $0.x509Svids = Int64(hits.x509SVIDs)
            $0.jwtSvids = Int64(hits.jwtSVIDs)
            $0.witSvids = Int64(hits.witSVIDs)
            $0.entries = Int64(hits.entries)
            $0.agents = Int64(hits.agents)
            $0.spiffeIds = hits.spiffeIDs.map(\.string)
            $0.spiffeIDCount = Int64(hits.spiffeIDCount)
        }
    }

    /// The token of the page behind a revocation; opaque to callers.
    static func pageToken(after revocation: Revocation) -> String {
        "\(revocation.createdAt).\(revocation.id)"
    }

    /// Where a page begins; nil for the first.
    static func pageStart(
        afterRevocation token: String
    ) throws(ServerError) -> (createdAt: Int64, id: String)? {
        if token.isEmpty { return nil }
        let parts = token.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let createdAt = Int64(parts[0]), !parts[1].isEmpty else {
            throw ServerError(
                .invalidArgument, "page token \(quoted(token)) is not one that this server gave out"
            )
        }
        return (createdAt, String(parts[1]))
    }
}
