public import Logging

/// How a ``WorkloadAPIClient`` behaves; the defaults suit most programs.
public struct WorkloadAPIConfiguration: Sendable {
    /// Whether sources hold partners against the limits that the agent tells; the article on limits of partners in
    /// `SPIFFETLS` says when they are known.
    public enum PartnerLimits: Sendable, Hashable {
        /// A source is ready when the agent has told them, or that it has none to tell.
        case required
        /// Nobody is held against limits, and the agent is not asked: for a proxy before the agent that lets no more than the
        /// standard's calls pass and does not answer "unimplemented".
        case ignored
    }

    /// How long a call that is no stream may take, connecting included.
    public var callTimeout: Duration = .seconds(30)
    /// The longest first wait after a failure; waits double from here and are jittered.
    public var firstBackOff: Duration = .milliseconds(250)
    /// The longest wait between two attempts.
    public var longestBackOff: Duration = .seconds(10)
    /// The most bytes that an answer may have. Bundles of many trust domains are large.
    public var maximumMessageBytes = 64 * 1024 * 1024
    /// The most bytes that a state of revocations may have that comes in parts, as agents send a long one. One that is longer
    /// is not used: what was known before stays, and `RevocationPolicy` decides once that is overdue.
    public var maximumRevocationBytes = 256 * 1024 * 1024
    /// What sources do with the limits of partners.
    public var partnerLimits = PartnerLimits.required
    /// Told at `debug` why a stream had to be opened again. Nil keeps the client silent.
    public var logger: Logger?

    /// The defaults.
    public init() {}
}
