import ControlPlaneProto
import SPIFFE
import ServerCore
import SwiftProtobuf

extension Wire {
    /// A relationship as a client asks for it.
    static func relationship(
        _ message: Spire_Api_Types_FederationRelationship
    ) throws(ServerError) -> FederationRegistry.Draft {
        let trustDomain = try self.trustDomain(message.trustDomain)
        let relationship = FederationRelationship(
            trustDomain: trustDomain, bundleEndpointURL: message.bundleEndpointURL,
            profile: try self.profile(message))
        return FederationRegistry.Draft(
            relationship,
            bundle: message.hasTrustDomainBundle
                ? try self.foreignBundle(message.trustDomainBundle) : nil)
    }

    /// What the message changes under the mask; without a mask everything. A bundle is never taken away.
    static func relationshipUpdate(
        _ message: Spire_Api_Types_FederationRelationship,
        mask: Spire_Api_Types_FederationRelationshipMask?
    ) throws(ServerError) -> FederationRegistry.Update {
        var update = FederationRegistry.Update(try self.trustDomain(message.trustDomain))
        if mask?.bundleEndpointURL ?? true { update.bundleEndpointURL = message.bundleEndpointURL }
        if mask?.bundleEndpointProfile ?? true { update.profile = try self.profile(message) }
        if mask?.trustDomainBundle ?? true, message.hasTrustDomainBundle {
            update.bundle = try self.foreignBundle(message.trustDomainBundle)
        }
        return update
    }

    private static func profile(
        _ message: Spire_Api_Types_FederationRelationship
    ) throws(ServerError) -> FederationRelationship.Profile {
        switch message.bundleEndpointProfile {
        case .httpsWeb: return .httpsWeb
        case .httpsSpiffe(let profile):
            guard !profile.endpointSpiffeID.isEmpty else {
                throw ServerError(
                    .invalidArgument,
                    "endpoint SPIFFE ID is missing; the profile https_spiffe needs the ID that the endpoint proves"
                )
            }
            do throws(SPIFFEIDError) {
                return .httpsSPIFFE(endpointID: try SPIFFEID(profile.endpointSpiffeID))
            } catch {
                throw ServerError(.invalidArgument, "invalid endpoint SPIFFE ID: \(error.message)")
            }
        case nil:
            throw ServerError(
                .invalidArgument,
                "bundle endpoint profile is missing; expected https_web or https_spiffe")
        }
    }

    /// - Parameters:
    ///   - bundle: the partner's, if there is one.
    ///   - mask: which fields; nil means all. The trust domain is always there.
    static func message(
        _ relationship: FederationRelationship, bundle: TrustBundle?,
        mask: Spire_Api_Types_FederationRelationshipMask? = nil
    ) -> Spire_Api_Types_FederationRelationship {
        .with {
            $0.trustDomain = relationship.trustDomain.name
            if mask?.bundleEndpointURL ?? true {
                $0.bundleEndpointURL = relationship.bundleEndpointURL
            }
            if mask?.bundleEndpointProfile ?? true {
                switch relationship.profile {
                case .httpsWeb: $0.httpsWeb = Spire_Api_Types_HTTPSWebProfile()
                case .httpsSPIFFE(let id):
                    $0.httpsSpiffe = .with { $0.endpointSpiffeID = id.string }
                }
            }
            if mask?.trustDomainBundle ?? true, let bundle {
                $0.trustDomainBundle = self.message(bundle)
            }
        }
    }

    static func message(
        _ status: PartnerRevocationStatus
    ) -> Cygnet_Federation_V1_PartnerRevocations {
        .with {
            $0.published = status.isPublished ?? false
            $0.crls = Int32(clamping: status.crls)
            $0.statusList = status.hasStatusList
            $0.nextUpdate = status.nextUpdate ?? 0
            $0.lastSuccess = status.lastSuccess ?? 0
            $0.lastError = status.lastError ?? ""
            $0.waiting = status.isWaiting
        }
    }

    static func message(
        _ status: FederationStatus, bundle: TrustBundle?
    ) -> Cygnet_Federation_V1_PartnerStatus {
        .with {
            let relationship = status.relationship
            $0.trustDomain = relationship.trustDomain.name
            $0.bundleEndpointURL = relationship.bundleEndpointURL
            $0.bundleEndpointProfile = relationship.profileName
            $0.endpointSpiffeID = relationship.endpointID?.string ?? ""
            $0.configured = status.isConfigured
            if let bundle {
                $0.hasBundle_p = true
                $0.sequenceNumber = bundle.publishedSequence
                $0.refreshHint = bundle.refreshHint
                $0.x509Authorities = Int32(clamping: bundle.x509Authorities.count)
                $0.jwtAuthorities = Int32(clamping: bundle.jwtAuthorities.count)
            }
            $0.lastAttempt = status.lastAttempt ?? 0
            $0.lastSuccess = status.lastSuccess ?? 0
            $0.lastError = status.lastError ?? ""
            $0.failures = Int32(clamping: status.failures)
            $0.nextAttempt = status.nextAttempt ?? 0
            $0.waiting = status.isWaiting
        }
    }
}
