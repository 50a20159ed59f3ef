/// What the control plane answers when a request cannot be carried out.
///
/// `code` is what endpoints map to a status (docs/errors.md); `message` says what failed, on which input and
/// what would have been accepted. It never holds keys or tokens.
package struct ServerError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: Sendable, Hashable {
        case invalidArgument, notFound, alreadyExists, permissionDenied, failedPrecondition
        case unavailable, unimplemented, resourceExhausted, unauthenticated, `internal`
    }

    /// Why an agent was refused; agents act on it (re-attest, or give up).
    package enum AgentReason: Sendable, Hashable {
        case expired, notAttested, notActive, banned, mustReattest
    }

    package let code: Code
    package let message: String
    /// Set with `permissionDenied` when an agent was refused for what is known of it.
    package let agentReason: AgentReason?
    /// Set with `failedPrecondition` or `unavailable` when a revocation stands in the way: its ID.
    package let revocationID: String?

    package init(
        _ code: Code, _ message: String, agentReason: AgentReason? = nil,
        revocationID: String? = nil
    ) {
        self.code = code
        self.message = message
        self.agentReason = agentReason
        self.revocationID = revocationID
    }

    package var description: String { self.message }
}

/// Quotes untrusted text for a message: control characters escaped, at most 200 bytes.
package func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        if result.utf8.count > 200 {
            result += "…"
            break
        }
        switch scalar {
        case "\"": result += "\\\""
        case _ where scalar.value < 0x20 || scalar.value == 0x7F:
            result += "\\u{" + String(scalar.value, radix: 16) + "}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}
