package import PluginAPI
package import SPIFFE
import SwiftASN1
import X509

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// The agent's own identity, ready to be shown to the server.
package struct AgentIdentity: Sendable {
    package let id: SPIFFEID
    /// DER, leaf first.
    package let chain: [[UInt8]]
    package let key: ManagedKey
    package let notBefore: Date
    package let expiresAt: Date
    /// Key ID of the authority at the top of the chain; nil when the chain does not name it.
    let authorityKeyID: [UInt8]?
    /// By which a list of revoked certificates knows it.
    let revocationName: RevocationName

    /// - Throws: ``AgentError`` `badIssuance` when the chain is malformed or for another key.
    package init(chain: [[UInt8]], key: ManagedKey) throws(AgentError) {
        guard let first = chain.first, let leaf = try? Certificate(derEncoded: first) else {
            throw AgentError(.badIssuance, "agent SVID refused: its chain cannot be parsed")
        }
        let names = IssuedX509SVID.uriNames(of: leaf)
        guard names.count == 1, let name = names.first, let id = try? SPIFFEID(name) else {
            throw AgentError(.badIssuance, "agent SVID refused: it has not exactly one SPIFFE ID")
        }
        guard leaf.publicKey == key.privateKey.publicKey else {
            throw AgentError(
                .badIssuance,
                "agent SVID of \(id) refused: it belongs to another key than \(key.id)")
        }
        self.id = id
        self.chain = chain
        self.key = key
        self.notBefore = leaf.notValidBefore
        self.expiresAt = leaf.notValidAfter
        self.revocationName = RevocationName(leaf)
        let top = chain.last.flatMap { try? Certificate(derEncoded: $0) } ?? leaf
        let authority = try? top.extensions.authorityKeyIdentifier
        self.authorityKeyID = authority?.keyIdentifier.map { Array($0) }
    }
}

/// How the server is recognised.
package enum ServerTrust: Sendable {
    /// By a chain to one of these authorities, asked for at every handshake, and by its exact
    /// SPIFFE ID.
    case authorities(@Sendable () -> [[UInt8]])
    /// By the name in its certificate alone, which anybody can forge: first contact only.
    case insecureNameOnly
}

/// What attesting the node gave.
package struct NodeAttestationResult: Sendable {
    /// DER, leaf first.
    package var chain: [[UInt8]]
    /// Whether the agent may attest again with the same means.
    package var canReattest: Bool
    /// The own trust domain's bundle, fetched over the same connection.
    package var bundle: AgentBundle

    package init(chain: [[UInt8]], canReattest: Bool, bundle: AgentBundle) {
        self.chain = chain
        self.canReattest = canReattest
        self.bundle = bundle
    }
}

/// What the server tells during a session.
package enum ServerEvent: Sendable {
    case entries(EntryChange)
    case bundles(BundleChange)
    case revocations(RevocationChange)
    case x509(requestID: UInt64, Result<[[UInt8]], IssuanceRefusal>)
    case jwt(requestID: UInt64, Result<IssuedJWTSVID, IssuanceRefusal>)
    /// A token as the server sent it.
    case wit(requestID: UInt64, Result<String, IssuanceRefusal>)
    /// A statement is in the ledger, or is not.
    case custody(requestID: UInt64, Result<Void, IssuanceRefusal>)
    /// What is to be revoked because processes have ended is revoked, or is not.
    case workloadEnd(requestID: UInt64, Result<Void, IssuanceRefusal>)
    case heartbeat(digest: EntryDigest?, serverTime: Date?)
}

/// The server's answer that it will not sign.
package struct IssuanceRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// gRPC status code.
    package let code: Int
    package let message: String

    package init(code: Int, message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { "\(self.message) (status \(self.code))" }
}

/// What the agent asks for during a session.
package enum SessionRequest: Sendable {
    package struct X509: Sendable {
        package let requestID: UInt64
        package let entryID: String
        package let key: WorkloadKey

        package init(requestID: UInt64, entryID: String, key: WorkloadKey) {
            self.requestID = requestID
            self.entryID = entryID
            self.key = key
        }
    }

    package struct WIT: Sendable {
        /// Counted apart from those of X509-SVIDs.
        package let requestID: UInt64
        package let entryID: String
        package let key: ProofKey

        package init(requestID: UInt64, entryID: String, key: ProofKey) {
            self.requestID = requestID
            self.entryID = entryID
            self.key = key
        }
    }

    case x509([X509])
    case wit([WIT])
    case jwt(requestID: UInt64, entryID: String, audience: [String])
    /// The entries no longer agree: send all of them.
    case resync
    /// The change of bundles that came with this number has been applied and handed on. `isReplaced`: and nothing
    /// held rests on an authority tainted in it.
    case confirmBundle(number: UInt64, isReplaced: Bool)
    /// The change of revocations that came with this number has been applied and handed on.
    case confirmRevocations(number: UInt64)
    /// Have on record what a workload states, and what its peer says to that.
    case custody(
        requestID: UInt64, statement: SignedCustodyStatement, receipt: CustodyReceipt?)
    /// The last process that had SVIDs of the entry has ended: revoke what was obtained for it.
    case workloadEnd(requestID: UInt64, entryID: String)
}

/// The agent's side of a session, as the connection sees it.
package protocol SyncSession: Sendable {
    /// Digest of the entries held; nil when there are none yet.
    var digest: EntryDigest? { get }
    /// The entries held, for synchronisation by revision.
    func outdated(
        against revisions: [(id: String, revision: Int64, createdAt: Int64)]
    ) -> (needed: [String], removed: [String])
    /// The trust domains whose bundles the entries held need, own one excluded.
    var federatedTrustDomains: Set<TrustDomain> { get }
    /// The session carries requests from now on.
    ///
    /// - Parameter isPush: False when the server only answers polls.
    /// - Returns: One element whenever ``takeRequests(limit:)`` has something to give; ends when
    ///   the session is over.
    func begin(isPush: Bool) -> AsyncStream<Void>
    /// Takes what is to be sent; empty when there is nothing.
    func takeRequests(limit: Int) -> [SessionRequest]
    /// In the order in which they came.
    func receive(_ event: ServerEvent)
}

/// The server, as the agent's rules need it.
package protocol ServerConnection: Sendable {
    /// Attests this node with a join token.
    ///
    /// - Throws: ``ServerFailure``.
    func attest(joinToken: String, key: ManagedKey, trust: ServerTrust) async throws
        -> NodeAttestationResult
    /// Renews the agent's SVID for a new key.
    ///
    /// - Returns: The chain in DER, leaf first.
    /// - Throws: ``ServerFailure``.
    func renew(_ identity: AgentIdentity, newKey: ManagedKey, trust: ServerTrust) async throws
        -> [[UInt8]]
    /// Carries a session until the connection ends or the task is cancelled.
    ///
    /// - Throws: ``ServerFailure``; returning without an error means that the server ended the
    ///   session in good order.
    func synchronise(
        as identity: AgentIdentity, trust: ServerTrust, session: any SyncSession) async throws
}

/// Why the server did not do what was asked.
package struct ServerFailure: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Hashable, Sendable {
        /// Not reachable, or not answering: try again.
        case unavailable
        /// The other end is not our server.
        case untrusted
        /// The agent's SVID has expired.
        case agentExpired
        /// The server does not know this agent any more.
        case agentNotAttested
        /// The agent's SVID is not the one the server has on record.
        case agentNotActive
        case agentBanned
        /// The server wants the agent to attest again.
        case mustReattest
        /// Refused for another reason; trying again as before will not help.
        case denied
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
