import NIOConcurrencyHelpers
package import ServerCore

/// An admission that answers as the test says and keeps what it was asked.
package final class ScriptedAdmission: IssuanceAdmission {
    private struct State {
        var begun: [IssuanceSubject] = []
        var admitted: [SignedSVID] = []
        var onBegin: @Sendable (IssuanceSubject) throws(ServerError) -> StatusReference? = { _ in
            nil
        }
        var onAdmit: @Sendable (SignedSVID) throws(ServerError) -> Void = { _ in }
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    /// Asked before a signature, in order; refused ones too.
    package var begun: [IssuanceSubject] { self.state.withLockedValue { $0.begun } }

    /// Let through before a release, in order.
    package var admitted: [SignedSVID] { self.state.withLockedValue { $0.admitted } }

    package func onBegin(
        _ body: @escaping @Sendable (IssuanceSubject) throws(ServerError) -> StatusReference?
    ) {
        self.state.withLockedValue { $0.onBegin = body }
    }

    package func onAdmit(_ body: @escaping @Sendable (SignedSVID) throws(ServerError) -> Void) {
        self.state.withLockedValue { $0.onAdmit = body }
    }

    package func begin(_ subject: IssuanceSubject) throws(ServerError) -> IssuanceTicket {
        let body = self.state.withLockedValue { state in
            state.begun.append(subject)
            return state.onBegin
        }
        return IssuanceTicket(status: try body(subject))
    }

    package func admit(_ svid: SignedSVID) throws(ServerError) {
        let body = self.state.withLockedValue { $0.onAdmit }
        try body(svid)
        self.state.withLockedValue { $0.admitted.append(svid) }
    }
}
