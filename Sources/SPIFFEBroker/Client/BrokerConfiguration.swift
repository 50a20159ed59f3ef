public import Logging

/// How a ``BrokerClient`` behaves; the defaults suit most brokers.
public struct BrokerConfiguration: Sendable {
    /// How long a call that is no stream may take, connecting included.
    public var callTimeout: Duration = .seconds(30)
    /// The longest first wait after a failure; waits double from here and are jittered.
    public var firstBackOff: Duration = .milliseconds(250)
    /// The longest wait between two attempts, and the wait after each refusal that may end: of a workload
    /// without entry, or of this broker.
    public var longestBackOff: Duration = .seconds(10)
    /// The most bytes that an answer may have. Bundles of many trust domains are large.
    public var maximumMessageBytes = 64 * 1024 * 1024
    /// Told at `debug` why a stream had to be opened again. Nil keeps the client silent.
    public var logger: Logger?

    /// The defaults.
    public init() {}
}
