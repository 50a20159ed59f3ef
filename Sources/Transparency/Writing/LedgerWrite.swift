/// One step of writing a ledger, for whoever has the disk. Steps of a list are done in order; when one fails, none of
/// those after it.
package enum LedgerWrite: Hashable, Sendable {
    /// Replace the journal by these bytes: durable, and either wholly there or not at all.
    case startJournal([UInt8])
    /// Append these bytes to the journal, durable before the next step.
    case appendToJournal([UInt8])
    /// Replace a file, wholly or not at all; folders are made. Need not be durable yet.
    case file(path: String, bytes: [UInt8])
    /// Make all files written so far durable, with their folders.
    case sync
    /// Remove a folder of partial tiles that nobody needs any more. May fail without harm.
    case removeFolder(path: String)
}
