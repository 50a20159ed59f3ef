import AgentCore
import ControlPlaneProto
import Foundation
import Logging
import SPIFFE
import SwiftProtobuf

/// Puts the messages of an update of revocations together: only the last one asks for a confirmation.
struct JoinedRevocations {
    /// The most that a server may have the agent hold before an update is complete.
    private static let mostMessages = 1_000

    private var pending = RevocationChange()
    private var messages = 0

    /// - Returns: the change, once it is complete.
    mutating func add(
        _ update: Cygnet_Sync_V1_RevocationUpdate, _ logger: Logger
    ) -> RevocationChange? {
        self.pending.removed += update.removed.compactMap { try? TrustDomain(nameOrID: $0) }
        for message in update.upserted { self.add(message, logger) }
        self.messages += 1
        guard update.confirm != 0 || update.upserted.isEmpty || self.messages >= Self.mostMessages
        else { return nil }
        var change = self.pending
        change.confirmation = update.confirm
        self = JoinedRevocations()
        return change
    }

    private mutating func add(
        _ message: Cygnet_Sync_V1_TrustDomainRevocations, _ logger: Logger
    ) {
        guard let trustDomain = try? TrustDomain(nameOrID: message.trustDomain) else {
            return logger.warning(
                "ignored revocations of a trust domain with a bad name",
                metadata: [LogKeys.trustDomain: "\(message.trustDomain.prefix(300))"])
        }
        let tokens = message.revokedTokens.compactMap { SigningInputDigest(bytes: $0) }
        if tokens.count < message.revokedTokens.count {
            logger.warning(
                "ignored digests of revoked tokens that are not 32 bytes long",
                metadata: [LogKeys.trustDomain: "\(trustDomain)"])
        }
        let crls = message.crls.map { [UInt8]($0) }
        let lists = Dictionary(
            message.statusLists.map { ($0.uri, $0.token) }, uniquingKeysWith: { $1 })
        if let index = self.pending.upserted.firstIndex(where: { $0.trustDomain == trustDomain }) {
            self.pending.upserted[index].crls += crls
            self.pending.upserted[index].statusLists.merge(lists) { $1 }
            self.pending.upserted[index].revokedTokens += tokens
        } else {
            self.pending.upserted.append(
                DomainRevocations(
                    trustDomain: trustDomain, crls: crls, statusLists: lists,
                    revokedTokens: tokens, hasAllTokens: message.allTokens))
        }
    }
}
