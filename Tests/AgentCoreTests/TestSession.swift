import Foundation
import Logging
import NIOConcurrencyHelpers
import SPIFFE
import X509

@testable import AgentCore

/// The agent's memory, in a session with a server whose answers the test gives by hand.
struct TestSession: Sendable {
    /// What the agent has to send to the server.
    struct Requests {
        /// Numbers of bundles confirmed, with whether everything was replaced.
        var bundles: [String] = []
        /// Numbers of revocations confirmed.
        var revocations: [UInt64] = []
        var x509: [SessionRequest.X509] = []
        /// IDs of requests for tokens.
        var jwt: [UInt64] = []
    }

    /// The one whose bundle the agent has, if the test has given no other.
    let authority: TestAuthority
    let identities: WorkloadIdentities
    /// How often the agent has said that other SVIDs of its trust domain were taken back.
    let ownRevocations = NIOLockedValueBox(0)

    /// - Parameters:
    ///   - bundle: That of the own trust domain; the authority's if nil.
    ///   - partners: Bundles of others.
    init(
        _ entries: [AuthorizedEntry], authority: TestAuthority? = nil,
        bundle: BundleChange? = nil, partners: [AgentBundle] = []
    ) throws {
        let authority = try authority ?? TestAuthority()
        self.authority = authority
        self.identities = WorkloadIdentities(
            trustDomain: acme, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            now: { [now = Date()] in now },
            onOwnRevocations: { [ownRevocations] in ownRevocations.withLockedValue { $0 += 1 } })
        _ = self.identities.begin(isPush: true)
        self.identities.receive(
            .bundles(bundle ?? BundleChange(upserted: [authority.bundle()] + partners)))
        self.identities.receive(.entries(EntryChange(isSnapshot: true, upserted: entries)))
    }

    /// Takes what is to be sent.
    func requests() -> Requests {
        var requests = Requests()
        for request in self.identities.takeRequests(limit: 100) {
            switch request {
            case .confirmBundle(let number, let isReplaced):
                requests.bundles.append("\(number) \(isReplaced)")
            case .confirmRevocations(let number): requests.revocations.append(number)
            case .x509(let batch): requests.x509 += batch
            case .jwt(let id, _, _): requests.jwt.append(id)
            default: break
            }
        }
        return requests
    }

    /// Signs what is asked for.
    func sign(_ requests: [SessionRequest.X509], by authority: TestAuthority? = nil) throws {
        for request in requests {
            let chain = try (authority ?? self.authority).sign(
                try SPIFFEID("spiffe://acme.test/w/\(request.entryID)"),
                request.key.privateKey.publicKey)
            self.identities.receive(.x509(requestID: request.requestID, .success(chain)))
        }
    }
}
