package import AgentCore
import Dispatch
import Foundation
import ServiceRuntime

/// `served-workloads.json`: the processes that were handed SVIDs which end with them.
///
/// Members: `version` (1), `boot_id` (the kernel's name for this run of the machine), `processes` (`pid`, `start_time`, `uid`,
/// `entry_ids`) and `untold` (entry IDs). Nothing in it is secret. Mode 0600; replaced as a whole (written beside, synced,
/// renamed, folder synced), on a thread of its own.
package final class ServedProcessFile: ServedProcessStore {
    private struct Contents: Codable {
        struct Process: Codable {
            var pid: Int32
            var startTime: UInt64
            var uid: UInt32
            var entryIDs: [String]

            enum CodingKeys: String, CodingKey {
                case pid, uid
                case startTime = "start_time"
                case entryIDs = "entry_ids"
            }
        }

        var version: Int
        var bootID: String
        var processes: [Process]
        var untold: [String]

        enum CodingKeys: String, CodingKey {
            case version, processes, untold
            case bootID = "boot_id"
        }
    }

    private static let version = 1
    /// Far more than as many processes as are watched can have.
    private static let maximumBytes = 64 * 1024 * 1024

    private let path: String
    private let bootID: String
    private let queue = DispatchQueue(label: "cygnet.served-processes")

    /// - Parameters:
    ///   - directory: The agent's data directory; must exist.
    ///   - bootID: The name of this run of the machine; nil asks the kernel. Where that has none it is empty, and processes are
    ///     told apart by their start times alone.
    package init(directory: String, bootID: String? = nil) {
        self.path =
            directory.hasSuffix("/")
            ? directory + "served-workloads.json" : directory + "/served-workloads.json"
        self.bootID = bootID ?? Self.kernelBootID
    }

    private static var kernelBootID: String {
        let bytes = try? BoundedFile.read("/proc/sys/kernel/random/boot_id", limit: 256)
        return String(decoding: bytes ?? [], as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// What writes left behind that were cut off.
    private func removeLeftovers() {
        let url = URL(fileURLWithPath: self.path)
        let folder = url.deletingLastPathComponent()
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        where name.hasPrefix(url.lastPathComponent + ".") && name.hasSuffix(".tmp") {
            try? FileManager.default.removeItem(at: folder.appendingPathComponent(name))
        }
    }

    package func load() throws -> ServedRecords? {
        self.removeLeftovers()
        let bytes: [UInt8]
        do throws(FileError) {
            bytes = try BoundedFile.read(self.path, limit: Self.maximumBytes)
        } catch {
            if error.code == .notFound { return nil }
            throw AgentError(.state, error.message)
        }
        guard let contents = try? JSONDecoder().decode(Contents.self, from: Data(bytes)),
            contents.version == Self.version, contents.processes.allSatisfy({ $0.pid > 0 })
        else {
            throw AgentError(
                .state, "\(self.path) is damaged, or was written by another version of the agent")
        }
        return ServedRecords(
            processes: contents.processes.map {
                ServedRecords.Process(
                    pid: $0.pid, startTime: $0.startTime, uid: $0.uid, entryIDs: Set($0.entryIDs))
            }, untold: Set(contents.untold), isOfThisBoot: contents.bootID == self.bootID)
    }

    package func save(_ records: ServedRecords) async throws {
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
            self.queue.async { done.resume(with: Result { try self.write(records) }) }
        }
    }

    private func write(_ records: ServedRecords) throws {
        let contents = Contents(
            version: Self.version, bootID: self.bootID,
            processes: records.processes.map {
                Contents.Process(
                    pid: $0.pid, startTime: $0.startTime, uid: $0.uid,
                    entryIDs: $0.entryIDs.sorted())
            }, untold: records.untold.sorted())
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            try AtomicFile.write(try encoder.encode(contents), to: self.path)
        } catch {
            throw AgentError(.state, "cannot write \(self.path): \(error)")
        }
    }
}
