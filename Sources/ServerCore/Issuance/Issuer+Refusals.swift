package import SPIFFE
package import Transparency

extension ServerError {
    /// The class of a refusal for the ledger (docs/ledger.md).
    package var refusalReason: String {
        if self.revocationID != nil { return "revoked" }
        if self.agentReason == .banned { return "banned" }
        return switch self.code {
        case .permissionDenied, .notFound, .unauthenticated: "unauthorized"
        case .resourceExhausted: "rate_limited"
        case .invalidArgument, .alreadyExists: "invalid_request"
        case .failedPrecondition: "policy"
        case .unimplemented: "not_enabled"
        case .unavailable: "unavailable"
        case .internal: "internal"
        }
    }
}

extension Issuer {
    /// The most of an entry ID that is recorded: a real one is never longer, and a request may have anything.
    private static let maximumEntryID = 255

    /// Records that an SVID was refused, and does not wait for it.
    ///
    /// - Parameters:
    ///   - spiffeID: As far as it is known.
    ///   - entryID: As it was asked for.
    ///   - node: The agent that asks, or that attests.
    ///   - caller: Who asked: a SPIFFE ID, `uid:<n>`, an address, or `self`.
    ///   - reason: The class, where it is not that of the error.
    package func refuse(
        _ error: ServerError, _ type: LeafSVIDType, spiffeID: SPIFFEID? = nil,
        entryID: String? = nil, node: SPIFFEID? = nil, caller: String, reason: String? = nil
    ) {
        guard self.refusals.takes(caller) else { return }
        self.recorder.enqueue([
            .svidRefused(
                SVIDRefusedLeaf(
                    reason: reason ?? error.refusalReason, svidType: type, spiffeID: spiffeID,
                    entryID: entryID.flatMap { id in
                        id.isEmpty ? nil : String(id.unicodeScalars.prefix(Self.maximumEntryID))
                    }, node: node, caller: caller, revocationID: error.revocationID))
        ])
    }

    /// What admission refuses is revoked.
    static func reason(_ error: ServerError) -> String? {
        error.code == .failedPrecondition ? "revoked" : nil
    }
}
