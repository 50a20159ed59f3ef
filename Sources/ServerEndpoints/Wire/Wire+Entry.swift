import ControlPlaneProto
import Foundation
import SPIFFE
import ServerCore
import SwiftProtobuf

extension Wire {
    /// An entry as a client asks for it; revision and creation time of clients are ignored.
    static func entry(_ message: Spire_Api_Types_Entry) throws(ServerError) -> Entry {
        var entry = Entry(
            id: message.id,
            spiffeID: try self.id(message.spiffeID, field: "spiffe_id", isSet: message.hasSpiffeID),
            parentID: try self.id(message.parentID, field: "parent_id", isSet: message.hasParentID),
            selectors: try self.selectors(message.selectors))
        try self.copyFields(message, to: &entry)
        return entry
    }

    private static func copyFields(
        _ message: Spire_Api_Types_Entry, to entry: inout Entry
    ) throws(ServerError) {
        entry.x509SVIDTTL = message.x509SvidTtl
        entry.jwtSVIDTTL = message.jwtSvidTtl
        try self.federate(&entry, with: message.federatesWith)
        entry.admin = message.admin
        entry.downstream = message.downstream
        entry.expiresAt = message.expiresAt
        entry.dnsNames = message.dnsNames
        entry.storeSVID = message.storeSvid
        entry.hint = message.hint
        entry.disableX509SVIDPrefetch = message.additionalAttributes.disableX509SvidPrefetch
        entry.jwtSVIDIncludeJTI = message.additionalAttributes.jwtSvidIncludeJti
        entry.revokesOnExit = message.additionalAttributes.revokeOnExit
    }

    /// The stored entry with what the message says under the mask; without a mask everything is replaced.
    static func merge(
        _ message: Spire_Api_Types_Entry, into old: Entry, mask: Spire_Api_Types_EntryMask?
    ) throws(ServerError) -> Entry {
        var entry = old
        if mask?.spiffeID ?? true {
            entry.spiffeID = try self.id(
                message.spiffeID, field: "spiffe_id", isSet: message.hasSpiffeID)
        }
        if mask?.parentID ?? true {
            entry.parentID = try self.id(
                message.parentID, field: "parent_id", isSet: message.hasParentID)
        }
        if mask?.selectors ?? true { entry.selectors = try self.selectors(message.selectors) }
        if mask?.x509SvidTtl ?? true { entry.x509SVIDTTL = message.x509SvidTtl }
        if mask?.jwtSvidTtl ?? true { entry.jwtSVIDTTL = message.jwtSvidTtl }
        if mask?.federatesWith ?? true {
            try self.federate(&entry, with: message.federatesWith)
        }
        if mask?.admin ?? true { entry.admin = message.admin }
        if mask?.downstream ?? true { entry.downstream = message.downstream }
        if mask?.expiresAt ?? true { entry.expiresAt = message.expiresAt }
        if mask?.dnsNames ?? true { entry.dnsNames = message.dnsNames }
        if mask?.storeSvid ?? true { entry.storeSVID = message.storeSvid }
        if mask?.hint ?? true { entry.hint = message.hint }
        if mask?.additionalAttributes ?? true {
            entry.disableX509SVIDPrefetch = message.additionalAttributes.disableX509SvidPrefetch
            entry.jwtSVIDIncludeJTI = message.additionalAttributes.jwtSvidIncludeJti
            // A client that does not know the option does not switch it off.
            if message.additionalAttributes.hasRevokeOnExit {
                entry.revokesOnExit = message.additionalAttributes.revokeOnExit
            }
        }
        return entry
    }

    private static func federate(
        _ entry: inout Entry, with references: [String]
    ) throws(ServerError) {
        entry.federatesWith = []
        entry.federatesWithGroups = []
        for reference in references { try entry.federate(with: reference) }
    }

    /// - Parameter mask: which fields; nil means all. The ID is always there.
    static func message(
        _ entry: Entry, mask: Spire_Api_Types_EntryMask? = nil
    ) -> Spire_Api_Types_Entry {
        .with {
            $0.id = entry.id
            if mask?.spiffeID ?? true { $0.spiffeID = self.message(entry.spiffeID) }
            if mask?.parentID ?? true { $0.parentID = self.message(entry.parentID) }
            if mask?.selectors ?? true { $0.selectors = entry.selectors.map { self.message($0) } }
            if mask?.x509SvidTtl ?? true { $0.x509SvidTtl = entry.x509SVIDTTL }
            if mask?.jwtSvidTtl ?? true { $0.jwtSvidTtl = entry.jwtSVIDTTL }
            if mask?.federatesWith ?? true { $0.federatesWith = entry.federationReferences }
            if mask?.admin ?? true { $0.admin = entry.admin }
            if mask?.downstream ?? true { $0.downstream = entry.downstream }
            if mask?.expiresAt ?? true { $0.expiresAt = entry.expiresAt }
            if mask?.dnsNames ?? true { $0.dnsNames = entry.dnsNames }
            if mask?.revisionNumber ?? true { $0.revisionNumber = entry.revision }
            if mask?.storeSvid ?? true { $0.storeSvid = entry.storeSVID }
            if mask?.hint ?? true { $0.hint = entry.hint }
            if mask?.createdAt ?? true { $0.createdAt = entry.createdAt }
            let hasAttributes =
                entry.disableX509SVIDPrefetch || entry.jwtSVIDIncludeJTI || entry.revokesOnExit
            if mask?.additionalAttributes ?? true, hasAttributes {
                $0.additionalAttributes = .with {
                    $0.disableX509SvidPrefetch = entry.disableX509SVIDPrefetch
                    $0.jwtSvidIncludeJti = entry.jwtSVIDIncludeJTI
                    if entry.revokesOnExit { $0.revokeOnExit = true }
                }
            }
        }
    }

    /// What an agent needs of an entry; parent, DNS names, TTLs and expiry stay with the server.
    static func agentMessage(_ entry: Entry) -> Spire_Api_Types_Entry {
        self.message(entry, mask: self.agentMask)
    }

    private static let agentMask = Spire_Api_Types_EntryMask.with {
        $0.spiffeID = true
        $0.selectors = true
        $0.federatesWith = true
        $0.admin = true
        $0.downstream = true
        $0.revisionNumber = true
        $0.storeSvid = true
        $0.hint = true
        $0.createdAt = true
        $0.additionalAttributes = true
    }

    static func entryFilter(
        _ filter: Spire_Api_Server_Entry_V1_ListEntriesRequest.Filter
    ) throws(ServerError) -> EntryFilter {
        var result = EntryFilter()
        if filter.hasBySpiffeID {
            result.spiffeID = try self.id(filter.bySpiffeID, field: "by_spiffe_id")
        }
        if filter.hasByParentID {
            result.parentID = try self.id(filter.byParentID, field: "by_parent_id")
        }
        if filter.hasBySelectors { result.selectors = try self.selectorMatch(filter.bySelectors) }
        if filter.hasByFederatesWith {
            result.federatesWith = try self.federatesWithMatch(filter.byFederatesWith)
        }
        if filter.hasByHint { result.hint = filter.byHint.value }
        if filter.hasByDownstream { result.downstreamOnly = filter.byDownstream.value }
        return result
    }
}
