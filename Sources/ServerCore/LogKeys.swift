/// The metadata keys that the control plane logs with; same key, same meaning, everywhere.
package enum LogKeys {
    package static let agentID = "agent_id"
    package static let authorityID = "authority_id"
    package static let authorityKind = "authority_kind"
    package static let caller = "caller"
    package static let count = "count"
    package static let entryID = "entry_id"
    package static let error = "error"
    package static let expiresAt = "expires_at"
    package static let keyID = "key_id"
    package static let method = "method"
    package static let requestID = "request_id"
    package static let seq = "seq"
    package static let serial = "serial"
    package static let slot = "slot"
    package static let spiffeID = "spiffe_id"
}
