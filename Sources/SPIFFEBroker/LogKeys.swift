/// Metadata keys of this target's log lines.
enum LogKeys {
    /// The address of the Broker Endpoint.
    static let address = "broker_endpoint"
    /// The name of the call.
    static let method = "method"
    /// The workload that the call is about.
    static let workload = "workload"
    /// The message of a ``BrokerError``.
    static let error = "error"
    /// Seconds until the next attempt.
    static let retryAfter = "retry_after_s"
}
