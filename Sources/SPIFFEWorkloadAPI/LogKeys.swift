/// Metadata keys of this target's log lines.
enum LogKeys {
    /// The address of the Workload API.
    static let address = "workload_api"
    /// The name of the call.
    static let method = "method"
    /// The message of a ``WorkloadAPIError``.
    static let error = "error"
    /// Seconds until the next attempt.
    static let retryAfter = "retry_after_s"
}
