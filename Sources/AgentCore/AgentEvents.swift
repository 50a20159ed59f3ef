package import SPIFFE

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// Something a person who watches the agent wants to know.
package enum AgentEvent: Sendable {
    /// The node has been attested.
    case attested(agentID: SPIFFEID, expiresAt: Date)
    /// The agent's own SVID has been renewed.
    case renewed(agentID: SPIFFEID, expiresAt: Date)
    case connected(isPush: Bool)
    case disconnected(reason: String, heldSVIDs: Int)
    /// A new X509-SVID is in the cache. `isRotation`: it replaces another one.
    case issued(spiffeID: SPIFFEID, serialNumber: String, expiresAt: Date, isRotation: Bool)
    case issuedJWT(spiffeID: SPIFFEID, audience: [String], expiresAt: Date)
    /// A workload was handed its identities for the first time on a stream.
    case served(pid: Int32, spiffeIDs: [SPIFFEID])
    /// A workload was refused. `nearest` came closest to matching.
    case refused(
        pid: Int32, selectors: [Selector], nearest: EntrySet.NearMiss?, refusal: WorkloadRefusal)
    /// The server took this agent's identity back.
    case suspended(reason: String)
}

/// Receives live events; called from many threads, must not block.
package protocol AgentEvents: Sendable {
    func record(_ event: AgentEvent)
}
