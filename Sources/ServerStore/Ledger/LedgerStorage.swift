import Transparency

/// The few things that a ledger does with files. Paths are relative to the ledger's folder.
///
/// One caller at a time writes the journal, one at a time all the rest; both may do so at once.
package protocol LedgerStorage: Sendable {
    /// The bytes of a file; nil when there is none.
    ///
    /// - Parameter limit: A longer file is an error.
    func read(_ path: String, limit: Int) throws(LedgerStorageError) -> [UInt8]?
    /// Whether there is a file or folder at this path.
    func contains(_ path: String) throws(LedgerStorageError) -> Bool
    /// Appends to a file that exists; durable on return.
    func append(_ bytes: [UInt8], to path: String) throws(LedgerStorageError)
    /// Replaces a file, wholly or not at all, and makes the folders above it.
    ///
    /// - Parameter isDurable: Whether it must be durable on return.
    func replace(
        _ path: String, with bytes: [UInt8], isDurable: Bool
    ) throws(LedgerStorageError)
    /// Makes everything durable that was replaced before.
    func sync() throws(LedgerStorageError)
    /// Removes a folder and the files in it; none is no error.
    func removeFolder(_ path: String) throws(LedgerStorageError)
}

/// Why a file of the ledger could not be read or written.
package struct LedgerStorageError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What failed, with the path and the system's reason.
    package let message: String

    package init(_ message: String) { self.message = message }

    package var description: String { self.message }
}

extension LedgerStorage {
    /// Does the steps in order, up to the first that fails.
    func perform(_ steps: [LedgerWrite]) throws(LedgerStorageError) {
        for step in steps {
            switch step {
            case .startJournal(let bytes):
                try self.replace(LedgerPath.journal, with: bytes, isDurable: true)
            case .appendToJournal(let bytes): try self.append(bytes, to: LedgerPath.journal)
            case .file(let path, let bytes):
                // A checkpoint that is cut off by a power failure would look like tampering.
                try self.replace(path, with: bytes, isDurable: path == LedgerPath.checkpoint)
            case .sync: try self.sync()
            case .removeFolder(let path):
                // What stays is only in nobody's way.
                try? self.removeFolder(path)
            }
        }
    }
}

/// The files of a ledger that are no tiles.
enum LedgerPath {
    static let journal = "journal"
    static let checkpoint = "checkpoint"
    static let tiles = "tile"
    static let lock = "lock"
}
