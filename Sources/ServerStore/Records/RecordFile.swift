import CPeer
import CoreFoundation
import Dispatch
package import Foundation
import NIOConcurrencyHelpers
import SPIFFE
package import ServerCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The issuance record as an append-only file of JSON lines.
///
/// One line a record: `{"n":…,"t":…,"kind":…,"id":…,"serial":…,"authority":…,"sha256":…,"exp":…,"for":…,"by":…}`.
/// `n` counts from 1 without gaps. Appends that wait are written and synced together. After a crash a torn last
/// line is cut off; nothing was released for it. If a sync ever fails the file takes no more records until the
/// server is restarted, because what the disk holds is unknown then.
package final class RecordFile: IssuanceRecorder {
    private struct Pending: Sendable {
        let records: [IssuanceRecord]
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var waiting: [Pending] = []
        var isBroken = false
    }

    /// Owned by the queue.
    private struct Tail {
        var length: off_t
        var count: UInt64
        /// How many appends the last sync served.
        var lastBatch = 0
    }

    /// How long a sync waits for company when the one before it had some. A sync costs the processor as much as half
    /// an issuance, so when many ask at once fewer syncs let more of them through; a lone caller never waits.
    private static let gatheringMicroseconds: useconds_t = 200

    private let path: String
    private let descriptor: CInt
    private let state = NIOLockedValueBox(State())
    private let tail: NIOLockedValueBox<Tail>
    private let queue = DispatchQueue(label: "cygnet.records")
    private let lock: FileLock
    private let now: @Sendable () -> Date

    /// Opens the file, creating it with mode 0600.
    ///
    /// - Throws: ``ServerError`` `unavailable` when it cannot be opened, `failedPrecondition` when another
    ///   process has it or its last complete line is not a record.
    package init(path: String, now: @escaping @Sendable () -> Date = { Date() }) throws {
        self.path = path
        self.now = now
        self.lock = try FileLock(path: path + ".lock", what: "record file \(path)")
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw ServerError(
                .unavailable, "cannot open record file \(path): \(String(cString: strerror(errno)))"
            )
        }
        do {
            self.tail = NIOLockedValueBox(try Self.recover(descriptor, path))
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }

    deinit { close(self.descriptor) }

    /// How many records the file holds.
    package var count: UInt64 { self.tail.withLockedValue { $0.count } }

    package func append(_ records: [IssuanceRecord]) async throws {
        try await withCheckedThrowingContinuation { continuation in
            let isFirst = self.state.withLockedValue { state -> Bool? in
                if state.isBroken { return nil }
                state.waiting.append(Pending(records: records, continuation: continuation))
                return state.waiting.count == 1
            }
            switch isFirst {
            case nil: continuation.resume(throwing: self.brokenError)
            case true?: self.queue.async { self.drain() }
            case false?: break
            }
        }
    }

    private func drain() {
        if self.tail.withLockedValue({ $0.lastBatch }) > 1 { usleep(Self.gatheringMicroseconds) }
        let (batch, isBroken) = self.state.withLockedValue { state in
            defer { state.waiting = [] }
            return (state.waiting, state.isBroken)
        }
        guard !batch.isEmpty else { return }
        // Those that came while the sync failed must not be written behind records in doubt.
        guard !isBroken else {
            for pending in batch { pending.continuation.resume(throwing: self.brokenError) }
            return
        }
        let start = self.tail.withLockedValue { $0 }
        var count = start.count
        let time = Int64(self.now().timeIntervalSince1970)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(batch.count * 512)
        for pending in batch {
            for record in pending.records {
                count += 1
                RecordLine.append(record, number: count, time: time, to: &bytes)
            }
        }
        do {
            try self.write(bytes, at: start.length)
            let end = Tail(
                length: start.length + off_t(bytes.count), count: count, lastBatch: batch.count)
            self.tail.withLockedValue { $0 = end }
            for pending in batch { pending.continuation.resume() }
        } catch {
            for pending in batch { pending.continuation.resume(throwing: error) }
        }
    }

    private func write(_ bytes: [UInt8], at start: off_t) throws {
        let failure = bytes.withUnsafeBytes { buffer -> CInt in
            var offset = 0
            while offset < buffer.count {
                let count = pwrite(
                    self.descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset,
                    start + off_t(offset))
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { return count < 0 ? errno : EIO }
                offset += count
            }
            return 0
        }
        if failure != 0 {
            // Whatever part was written goes away again; the next append starts at the same place.
            if ftruncate(self.descriptor, start) != 0 { self.markBroken() }
            let reason = String(cString: strerror(failure))
            throw ServerError(
                .unavailable,
                "issuance refused: cannot write record file \(self.path): \(reason); free space or repair the disk"
            )
        }
        guard fdatasync(self.descriptor) == 0 else {
            self.markBroken()
            throw self.brokenError
        }
    }

    private func markBroken() { self.state.withLockedValue { $0.isBroken = true } }

    private var brokenError: ServerError {
        ServerError(
            .unavailable,
            "issuance refused: record file \(self.path) could not be synced; repair the disk and restart the server"
        )
    }

    /// Cuts off a torn last line and reads the number of the last record.
    private static func recover(_ descriptor: CInt, _ path: String) throws -> Tail {
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
            throw ServerError(.failedPrecondition, "record file \(path) is not a regular file")
        }
        let size = info.st_size
        let window = min(size, 1 << 20)
        var bytes = [UInt8](repeating: 0, count: Int(window))
        let got = bytes.withUnsafeMutableBytes {
            pread(descriptor, $0.baseAddress, $0.count, size - window)
        }
        guard got == Int(window) else {
            throw ServerError(.unavailable, "cannot read record file \(path)")
        }
        guard let newline = bytes.lastIndex(of: UInt8(ascii: "\n")) else {
            guard window == size else {
                throw ServerError(
                    .failedPrecondition, "record file \(path) has no line end in its last MiB")
            }
            guard ftruncate(descriptor, 0) == 0 else {
                throw ServerError(.unavailable, "cannot repair record file \(path)")
            }
            return Tail(length: 0, count: 0)
        }
        let end = size - window + off_t(newline) + 1
        if end < size, ftruncate(descriptor, end) != 0 {
            throw ServerError(.unavailable, "cannot repair record file \(path)")
        }
        let lineStart = bytes[..<newline].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        guard let number = RecordLine.number(of: bytes[lineStart..<newline]) else {
            throw ServerError(
                .failedPrecondition,
                "last line of record file \(path) is not a record; restore the file or move it away"
            )
        }
        return Tail(length: end, count: number)
    }
}

/// One line of the record file.
enum RecordLine {
    static func append(
        _ record: IssuanceRecord, number: UInt64, time: Int64, to bytes: inout [UInt8]
    ) {
        bytes.append(contentsOf: "{\"n\":\(number),\"t\":\(time),\"kind\":\"".utf8)
        bytes.append(contentsOf: record.kind.rawValue.utf8)
        bytes.append(contentsOf: "\",\"id\":\"".utf8)
        bytes.append(contentsOf: record.spiffeID.string.utf8)
        bytes.append(contentsOf: "\",\"serial\":\"".utf8)
        self.appendEscaped(record.serial, to: &bytes)
        bytes.append(contentsOf: "\",\"authority\":\"".utf8)
        self.appendEscaped(record.authorityID, to: &bytes)
        bytes.append(contentsOf: "\",\"sha256\":\"".utf8)
        bytes.append(contentsOf: hex(record.sha256).utf8)
        bytes.append(contentsOf: "\",\"exp\":\(record.expiresAt),\"for\":\"".utf8)
        self.appendEscaped(record.reason, to: &bytes)
        bytes.append(contentsOf: "\",\"by\":\"".utf8)
        self.appendEscaped(record.requestedBy, to: &bytes)
        bytes.append(contentsOf: "\"}\n".utf8)
    }

    /// The number that a line starts with, if it has the shape of a record.
    static func number(of line: ArraySlice<UInt8>) -> UInt64? {
        let text = String(decoding: line, as: UTF8.self)
        guard text.hasPrefix("{\"n\":"), text.hasSuffix("}"), let comma = text.firstIndex(of: ",")
        else {
            return nil
        }
        return UInt64(text[text.index(text.startIndex, offsetBy: 5)..<comma])
    }

    private static func appendEscaped(_ text: String, to bytes: inout [UInt8]) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20:
                bytes.append(contentsOf: "\\u00".utf8)
                bytes.append(contentsOf: hex([byte]).utf8)
            default: bytes.append(byte)
            }
        }
    }
}
