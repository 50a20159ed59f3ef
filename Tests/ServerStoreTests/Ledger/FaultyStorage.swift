import NIOConcurrencyHelpers
import Transparency

@testable import ServerStore

/// A disk in memory on which writes go wrong, with what it shows after a power failure kept apart.
final class FaultyStorage: LedgerStorage {
    /// How a write goes wrong.
    enum Fault: CaseIterable, Sendable {
        /// Nothing was written.
        case failed
        /// Everything was written, and the answer was an error.
        case stored
        /// Half of it was written; only an append can end so.
        case torn
    }

    private struct State {
        var files: [String: [UInt8]] = [:]
        var shown: [[UInt8]] = []
        var writes = 0
        var failing: (at: Int, fault: Fault)?
        /// No write succeeds, as on a full disk; reading does.
        var isFull = false
        /// Nothing succeeds.
        var isDead = false
        /// Called before each write.
        var hold: (@Sendable (_ path: String) -> Void)?
    }

    private let state: NIOLockedValueBox<State>

    init() { self.state = NIOLockedValueBox(State()) }

    init(failingAt write: Int, _ fault: Fault) {
        self.state = NIOLockedValueBox(State(failing: (write, fault)))
    }

    /// Every checkpoint that others could have read.
    var shown: [[UInt8]] { self.state.withLockedValue { $0.shown } }
    /// How many writes there were.
    var writes: Int { self.state.withLockedValue { $0.writes } }
    var files: [String: [UInt8]] { self.state.withLockedValue { $0.files } }

    func setFull(_ isFull: Bool) { self.state.withLockedValue { $0.isFull = isFull } }
    func setDead(_ isDead: Bool) { self.state.withLockedValue { $0.isDead = isDead } }
    func fail(in writes: Int, _ fault: Fault) {
        self.state.withLockedValue { $0.failing = ($0.writes + writes, fault) }
    }
    func change(_ path: String, _ body: @Sendable (inout [UInt8]?) -> Void) {
        self.state.withLockedValue { body(&$0.files[path]) }
    }
    func hold(_ body: (@Sendable (_ path: String) -> Void)?) {
        self.state.withLockedValue { $0.hold = body }
    }

    func read(_ path: String, limit: Int) throws(LedgerStorageError) -> [UInt8]? {
        let (bytes, isDead) = self.state.withLockedValue { ($0.files[path], $0.isDead) }
        guard !isDead else { throw LedgerStorageError("cannot read \(path): input/output error") }
        guard bytes?.count ?? 0 <= limit else { throw LedgerStorageError("\(path) is too long") }
        return bytes
    }

    func contains(_ path: String) throws(LedgerStorageError) -> Bool {
        self.state.withLockedValue { state in
            state.files.keys.contains { $0 == path || $0.hasPrefix(path + "/") }
        }
    }

    func append(_ bytes: [UInt8], to path: String) throws(LedgerStorageError) {
        guard self.files[path] != nil else { throw LedgerStorageError("\(path) was removed") }
        try self.write(path) { files, fault in
            let part = fault == .torn ? bytes.count / 2 : bytes.count
            files[path] = (files[path] ?? []) + bytes.prefix(part)
        }
    }

    func replace(
        _ path: String, with bytes: [UInt8], isDurable: Bool
    ) throws(LedgerStorageError) {
        try self.write(path) { files, fault in
            if fault != .torn { files[path] = bytes }
        }
    }

    func sync() throws(LedgerStorageError) { try self.write("") { _, _ in } }

    func removeFolder(_ path: String) throws(LedgerStorageError) {
        try self.write(path) { files, fault in
            guard fault != .torn else { return }
            for name in files.keys where name.hasPrefix(path + "/") { files[name] = nil }
        }
    }

    private func write(
        _ path: String, _ store: (inout [String: [UInt8]], Fault?) -> Void
    ) throws(LedgerStorageError) {
        self.state.withLockedValue { $0.hold }?(path)
        let isWritten = self.state.withLockedValue { state in
            state.writes += 1
            guard !state.isFull, !state.isDead else { return false }
            let fault = state.failing.flatMap { $0.at == state.writes ? $0.fault : nil }
            if fault != .failed { store(&state.files, fault) }
            if path == "checkpoint", let bytes = state.files[path], state.shown.last != bytes {
                state.shown.append(bytes)
            }
            return fault == nil
        }
        guard isWritten else { throw LedgerStorageError("cannot write \(path): no space left") }
    }
}

extension FaultyStorage: TileReader {
    func read(_ path: String, limit: Int) async throws -> [UInt8]? { self.files[path] }
}
