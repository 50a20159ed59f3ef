/// What clients of a document listener may take up.
package struct DocumentLimits: Sendable, Hashable {
    /// Open connections of all clients; more are closed at once.
    package var maximumConnections = 1_024
    /// Open connections of one address; more are closed at once. Clients on a Unix socket have no address.
    package var maximumConnectionsPerAddress = 256
    /// From connecting, or the first byte of a later request, to the end of the request; the TLS handshake included.
    package var requestTimeout = Duration.seconds(10)
    /// How long a connection may stay without a further request.
    package var idleTimeout = Duration.seconds(30)
    /// The age at which a connection ends with its next answer, so that clients meet a new certificate.
    package var maximumAge = Duration.seconds(300)
    /// The bytes of a request: its line and header fields. The body of a POST comes on top, with the limit of what takes it.
    package var maximumRequestBytes = 16_384
    /// Whether a connection may carry several requests.
    package var keepsConnections = true
    /// How long a request may wait for another document; whoever prefers longer waits that long.
    package var maximumWait = Duration.seconds(60)
    /// Requests of all clients that wait; further ones are answered at once.
    package var maximumWaiting = 512
    /// Requests of one address that wait; further ones are answered at once.
    package var maximumWaitingPerAddress = 64

    /// The defaults.
    package init() {}
}
