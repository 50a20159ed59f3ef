import CPeer
import Crypto
import NIOConcurrencyHelpers
import PluginAPI

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// SHA-256 digests of program files, each file read once.
///
/// A digest is kept under device, inode, times of change and size of the very descriptor it was
/// read from, so a path that comes to name another file, or a file that is rewritten, is never
/// answered from memory. Those who ask for the same file at the same time wait for one reading.
final class ExecutableDigests: Sendable {
    struct Key: Hashable, Sendable {
        let device: UInt64
        let inode: UInt64
        let modifiedSeconds: Int64
        let modifiedNanoseconds: Int64
        let changedSeconds: Int64
        let changedNanoseconds: Int64
        let size: Int64

        init(_ facts: cygnet_file_facts) {
            self.device = facts.device
            self.inode = facts.inode
            self.size = facts.size
            self.modifiedSeconds = facts.modified_seconds
            self.modifiedNanoseconds = facts.modified_nanoseconds
            self.changedSeconds = facts.changed_seconds
            self.changedNanoseconds = facts.changed_nanoseconds
        }
    }

    private struct State {
        var digests: [Key: String] = [:]
        /// Oldest first; what is dropped when there are too many.
        var order: [Key] = []
        var readings: [Key: ConditionLock<Int>] = [:]
    }

    /// How many digests are kept.
    private let capacity: Int
    private let state = NIOLockedValueBox(State())
    /// How many files have been read in full; for tests.
    private let readings = NIOLockedValueBox(0)
    var readingCount: Int { self.readings.withLockedValue { $0 } }

    init(capacity: Int = 1024) { self.capacity = capacity }

    /// The digest of a running process's program file, in lower-case hexadecimal. Blocks.
    ///
    /// - Parameter sizeLimit: Files with more bytes are refused; 0 means no limit.
    /// - Throws: ``WorkloadAttestorError``.
    func digest(ofProgramOf pid: Int32, sizeLimit: Int64) throws -> String {
        // Opened once: what is measured, looked up and read is one and the same file.
        let descriptor = cygnet_open_process_executable(pid)
        if descriptor < 0 { throw ProcessIDs.unreadable("program file", pid, descriptor) }
        defer { close(descriptor) }
        var facts = cygnet_file_facts()
        let read = cygnet_read_file_facts(descriptor, &facts)
        if read != 0 { throw ProcessIDs.unreadable("program file", pid, read) }
        if sizeLimit > 0, facts.size > sizeLimit {
            throw WorkloadAttestorError(
                .executableTooLarge,
                "program file of process \(pid) has \(facts.size) bytes; "
                    + "workload_size_limit allows \(sizeLimit)")
        }
        let key = Key(facts)
        while true {
            enum Turn {
                case done(String)
                case wait(ConditionLock<Int>)
                case read(ConditionLock<Int>)
            }
            let turn = self.state.withLockedValue { state -> Turn in
                if let digest = state.digests[key] { return .done(digest) }
                if let reading = state.readings[key] { return .wait(reading) }
                let reading = ConditionLock(value: 0)
                state.readings[key] = reading
                return .read(reading)
            }
            switch turn {
            case .done(let digest):
                return digest
            case .wait(let reading):
                // Another thread reads the file. When it is done there is a digest, or it is our
                // turn.
                reading.lock(whenValue: 1)
                reading.unlock()
            case .read(let reading):
                let result = Result { try self.read(descriptor, pid, key) }
                self.finish(key, reading, digest: try? result.get())
                return try result.get()
            }
        }
    }

    private func finish(_ key: Key, _ reading: ConditionLock<Int>, digest: String?) {
        self.state.withLockedValue { state in
            state.readings[key] = nil
            guard let digest else { return }
            state.digests[key] = digest
            state.order.append(key)
            if state.order.count > self.capacity {
                state.digests[state.order.removeFirst()] = nil
            }
        }
        reading.lock()
        reading.unlock(withValue: 1)
    }

    private func read(_ descriptor: CInt, _ pid: Int32, _ key: Key) throws -> String {
        self.readings.withLockedValue { $0 += 1 }
        var hash = SHA256()
        var total: Int64 = 0
        let chunk = 256 * 1024
        try withUnsafeTemporaryAllocation(byteCount: chunk, alignment: 16) { buffer in
            while true {
                let count = readChunk(descriptor, buffer)
                if count < 0, errno == EINTR { continue }
                if count < 0 { throw ProcessIDs.unreadable("program file", pid, -errno) }
                if count == 0 { return }
                total += Int64(count)
                hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
        }
        // A running program cannot be written to, but a file system in user space need not obey.
        var after = cygnet_file_facts()
        guard cygnet_read_file_facts(descriptor, &after) == 0, Key(after) == key, total == key.size
        else {
            throw WorkloadAttestorError(
                .unreadable, "program file of process \(pid) changed while it was read")
        }
        return hash.finalize().reduce(into: "") { text, byte in
            text += byte < 16 ? "0" + String(byte, radix: 16) : String(byte, radix: 16)
        }
    }
}

private func readChunk(_ descriptor: CInt, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
    read(descriptor, buffer.baseAddress, buffer.count)
}
