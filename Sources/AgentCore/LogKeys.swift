/// Metadata keys of this target's and the agent endpoints' log records.
package enum LogKeys {
    package static let address = "address"
    package static let agentID = "agent_id"
    package static let attestor = "attestor"
    package static let attempt = "attempt"
    package static let brokerID = "broker_id"
    package static let entryID = "entry_id"
    package static let error = "error"
    package static let expiresAt = "expires_at"
    package static let heldSVIDs = "held_x509_svids"
    package static let missingSelectors = "missing_selectors"
    package static let method = "method"
    package static let mode = "mode"
    package static let nearestEntry = "nearest_entry"
    package static let path = "path"
    package static let pid = "pid"
    package static let reason = "reason"
    package static let retryIn = "retry_in"
    package static let selectors = "selectors"
    package static let serialNumber = "serial_number"
    package static let spiffeID = "spiffe_id"
    package static let spiffeIDs = "spiffe_ids"
    package static let trustDomain = "trust_domain"
    package static let uid = "uid"
}

extension Duration {
    /// Seconds with a fraction, such as `0.2s`, for the log.
    var logText: String {
        let tenths = Int64((RotationPolicy.seconds(self) * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)s"
    }
}
