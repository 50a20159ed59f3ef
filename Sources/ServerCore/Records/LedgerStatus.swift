package import Transparency

/// What a ledger says about itself.
package protocol LedgerStatus: Sendable {
    /// The public half of the log's key.
    var key: VerifierKey { get }
    /// How many leaves are acknowledged.
    var size: UInt64 { get }
    /// How many leaves others can read.
    var publishedSize: UInt64 { get }
}
