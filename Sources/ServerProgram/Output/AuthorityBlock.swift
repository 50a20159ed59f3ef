import ControlPlaneProto
import ServiceRuntime

/// The text form of authorities; scripts rely on its labels.
enum AuthorityBlock {
    typealias State = Spire_Api_Server_Localauthority_V1_AuthorityState

    /// A heading and a block of lines.
    ///
    /// - Parameters:
    ///   - word: Which authority it is, such as `Active`.
    ///   - kind: As in messages, such as `X.509`.
    ///   - state: Nil when there is none.
    static func text(_ word: String, _ kind: Kind, _ state: State?) -> String {
        let heading = "\(word) \(kind.title) authority:\n"
        guard let state else {
            return heading + "  No \(word.lowercased()) \(kind.title) authority found\n"
        }
        var text = heading + "  Authority ID: \(TerminalText.safe(state.authorityID))\n"
        text += "  Expires at: \(GoTime.utc(state.expiresAt))\n"
        // Only X.509 authorities can come from elsewhere.
        guard kind == .x509 else { return text }
        let upstream = state.upstreamAuthoritySubjectKeyID
        if upstream.isEmpty { return text + "  Upstream authority ID: No upstream authority\n" }
        return text + "  Upstream authority Subject Key ID: \(TerminalText.safe(upstream))\n"
    }

    /// The kinds of authorities on the command line.
    enum Kind: Sendable {
        case x509, jwt, wit

        var title: String {
            switch self {
            case .x509: "X.509"
            case .jwt: "JWT"
            case .wit: "WIT"
            }
        }
    }
}
