import SPIFFE
import ServerCore
import Transparency

// Batches of agents: what could be resolved is issued together, the rest refused on its own.
extension Issuer {
    /// Issues what could be resolved and passes on the errors of the rest, in order.
    ///
    /// - Parameter entryIDs: as they were asked for, one for each.
    func issueEach(
        _ wanted: [Result<X509Issuance, ServerError>], entryIDs: [String], agent: SPIFFEID
    ) async throws -> [Result<IssuedX509SVID, ServerError>] {
        self.refuse(wanted, .x509, entryIDs, agent)
        let resolved = wanted.compactMap { try? $0.get() }
        return Self.merge(wanted, try await self.issue(resolved, requestedBy: agent.string))
    }

    /// Issues what could be resolved and passes on the errors of the rest, in order.
    ///
    /// - Parameter entryIDs: as they were asked for, one for each.
    func issueEach(
        _ wanted: [Result<WITIssuance, ServerError>], entryIDs: [String], agent: SPIFFEID
    ) async throws -> [Result<IssuedWITSVID, ServerError>] {
        self.refuse(wanted, .wit, entryIDs, agent)
        let resolved = wanted.compactMap { try? $0.get() }
        return Self.merge(wanted, try await self.issue(resolved, requestedBy: agent.string))
    }

    private func refuse<Issuance>(
        _ wanted: [Result<Issuance, ServerError>], _ type: LeafSVIDType, _ entryIDs: [String],
        _ agent: SPIFFEID
    ) {
        for case (.failure(let error), let entryID) in zip(wanted, entryIDs) {
            self.refuse(error, type, entryID: entryID, node: agent, caller: agent.string)
        }
    }

    private static func merge<Issuance, SVID>(
        _ wanted: [Result<Issuance, ServerError>], _ issued: [Result<SVID, ServerError>]
    ) -> [Result<SVID, ServerError>] {
        var issued = issued[...]
        return wanted.map { result in
            result.flatMap { _ in
                issued.popFirst() ?? .failure(ServerError(.internal, "issuance gave no result"))
            }
        }
    }
}
