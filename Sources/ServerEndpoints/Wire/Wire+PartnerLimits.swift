import ControlPlaneProto
import SPIFFE
import ServerCore
import SwiftProtobuf

extension Wire {
    /// Limits as an operator asks for them.
    static func limits(
        _ message: Cygnet_Federation_V1_PartnerLimits
    ) throws(ServerError) -> PartnerLimits {
        try PartnerLimits(
            trustDomain: try self.trustDomain(message.trustDomain),
            acceptedPaths: message.hasAcceptedPaths ? message.acceptedPaths.patterns : nil,
            uses: try PartnerLimits.Uses(names: message.uses))
    }

    static func message(
        _ limits: PartnerLimits, isConfigured: Bool
    ) -> Cygnet_Federation_V1_PartnerLimits {
        .with {
            $0.trustDomain = limits.trustDomain.name
            if let paths = limits.acceptedPaths {
                $0.acceptedPaths = .with { $0.patterns = paths }
            }
            $0.uses = limits.uses.names
            $0.configured = isConfigured
        }
    }

    /// What an agent is told of a bundle that it gets.
    static func agentMessage(_ limits: PartnerLimits) -> Cygnet_Sync_V1_BundleLimits {
        .with {
            $0.trustDomain = limits.trustDomain.name
            $0.x509 = limits.uses.contains(.x509)
            $0.jwt = limits.uses.contains(.jwt)
            $0.limitsPaths = limits.acceptedPaths != nil
            $0.acceptedPaths = limits.acceptedPaths ?? []
        }
    }
}
