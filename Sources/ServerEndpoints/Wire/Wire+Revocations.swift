import ControlPlaneProto
import Foundation
import SPIFFE
import ServerCore
import SwiftProtobuf

extension Wire {
    /// Where one message ends and the next begins. Agents take up to 64 MiB; a single CRL may be larger than this, but no
    /// larger than ``told(_:longest:)`` lets it be.
    static let revocationPageBytes = 4 * 1024 * 1024
    /// So much of a CRL is told that is too long for agents.
    static let brokenCRLBytes = 64 * 1024
    private static let digestBytes = 34

    /// What an update tells of revocations, in messages of bounded size; only the last asks for the confirmation.
    ///
    /// The large parts are made once per state and shared by all agents' messages.
    static func revocationMessages(_ update: SyncUpdate) -> [Cygnet_Sync_V1_RevocationUpdate] {
        var messages: [Cygnet_Sync_V1_RevocationUpdate] = []
        if !update.removedRevocations.isEmpty {
            messages.append(.with { $0.removed = update.removedRevocations.map(\.name) })
        }
        for news in update.revocations {
            let pages = news.published.form(isAddition: news.isAddition) {
                Self.pages(
                    news.published, isAddition: news.isAddition, pageBytes: Self.revocationPageBytes
                )
            }
            messages += pages.map { page in .with { $0.upserted = [page] } }
        }
        if !update.revocations.isEmpty {
            messages[messages.count - 1].confirm = update.revocationNumber
        }
        return messages
    }

    /// One trust domain's state, cut up: the agent joins the pages again.
    static func pages(
        _ published: PublishedRevocations, isAddition: Bool, pageBytes: Int
    ) -> [Cygnet_Sync_V1_TrustDomainRevocations] {
        let state = published.state
        var pages: [Cygnet_Sync_V1_TrustDomainRevocations] = []
        var page = Cygnet_Sync_V1_TrustDomainRevocations.with {
            $0.trustDomain = state.trustDomain.name
            $0.allTokens = !isAddition
        }
        var size = 0
        func add(_ bytes: Int, _ change: (inout Cygnet_Sync_V1_TrustDomainRevocations) -> Void) {
            if size > 0, size + bytes > pageBytes {
                pages.append(page)
                page = .with {
                    $0.trustDomain = state.trustDomain.name
                    $0.allTokens = !isAddition
                }
                size = 0
            }
            change(&page)
            size += bytes
        }
        for (_, signed) in state.crls.sorted(by: { $0.key < $1.key }) {
            let crl = Self.told(signed)
            add(crl.count) { $0.crls.append(Data(crl)) }
        }
        for (uri, token) in state.statusLists.sorted(by: { $0.key < $1.key }) {
            add(uri.utf8.count + token.utf8.count) { page in
                page.statusLists.append(
                    .with {
                        $0.uri = uri
                        $0.token = token
                    })
            }
        }
        for token in isAddition ? published.addedTokens ?? [] : state.revokedTokens {
            add(Self.digestBytes) { $0.revokedTokens.append(Data(token)) }
        }
        return pages + [page]
    }

    /// What agents are told of a CRL: the CRL, or of one that no agent takes its beginning.
    ///
    /// Above 64 MiB the message would end the agent's stream, and each one after it; the agent could not even renew. A
    /// beginning is no CRL: the agent keeps the one before it and does not confirm the state, as with any list that it cannot
    /// use. Were it left out, the agent would drop the one before.
    static func told(
        _ crl: [UInt8], longest: Int = CertificateRevocationList.maximumLength
    ) -> [UInt8] {
        crl.count <= longest ? crl : Array(crl.prefix(min(longest, Self.brokenCRLBytes)))
    }
}
