import CPeer
import Dispatch
package import PluginAPI
package import SPIFFE

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The `unix` workload attestor: user, groups and program file of a process.
///
/// Selectors: `uid`, `user`, `gid`, `group`, `supplementary_gid`, `supplementary_group`, and with
/// ``Configuration/discoversPath`` also `path` and `sha256`. Names are left out when the system
/// knows none.
package struct UnixWorkloadAttestor: WorkloadAttestor {
    /// The plugin's settings.
    package struct Configuration: Hashable, Sendable {
        /// `discover_workload_path`: whether to state `path` and `sha256`.
        package var discoversPath: Bool
        /// `workload_size_limit` in bytes: larger program files are refused; 0 means no limit, a
        /// negative number that files are never hashed.
        package var sizeLimit: Int64

        package init(discoversPath: Bool = false, sizeLimit: Int64 = 0) {
            self.discoversPath = discoversPath
            self.sizeLimit = sizeLimit
        }
    }

    package let name = "unix"
    private let configuration: Configuration
    private let digests = ExecutableDigests()
    /// Reading names and program files may wait for a directory service or a file system, so it
    /// happens on threads of its own.
    private let queue = DispatchQueue(label: "cygnet.unix-attestor", attributes: .concurrent)

    package init(configuration: Configuration = Configuration()) {
        self.configuration = configuration
    }

    package func selectors(of process: any ProcessReference) async throws -> [Selector] {
        try await withCheckedThrowingContinuation { continuation in
            self.queue.async {
                continuation.resume(with: Result { try self.gather(process) })
            }
        }
    }

    private func gather(_ process: any ProcessReference) throws -> [Selector] {
        let ids = try ProcessIDs(pid: process.pid)
        var values = ["uid:\(ids.effectiveUser)"]
        if let user = UserDatabase.userName(ids.effectiveUser) { values.append("user:" + user) }
        values.append("gid:\(ids.effectiveGroup)")
        if let group = UserDatabase.groupName(ids.effectiveGroup) {
            values.append("group:" + group)
        }
        for group in ids.supplementaryGroups {
            values.append("supplementary_gid:\(group)")
            if let name = UserDatabase.groupName(group) {
                values.append("supplementary_group:" + name)
            }
        }
        if self.configuration.discoversPath {
            values.append("path:" + (try ProcessIDs.executablePath(process.pid)))
            if self.configuration.sizeLimit >= 0 {
                let digest = try self.digests.digest(
                    ofProgramOf: process.pid, sizeLimit: self.configuration.sizeLimit)
                values.append("sha256:" + digest)
            }
        }
        return values.compactMap { Selector(attestedType: self.name, value: $0) }
    }
}

/// The user and groups of a process, as the kernel has them now.
struct ProcessIDs: Hashable {
    let effectiveUser: UInt32
    let effectiveGroup: UInt32
    let supplementaryGroups: [UInt32]

    /// - Throws: ``WorkloadAttestorError``.
    init(pid: Int32) throws {
        var capacity = 4096
        while true {
            var failure: Int64 = 0
            let text = String(unsafeUninitializedCapacity: capacity) { buffer in
                let count = buffer.withMemoryRebound(to: CChar.self) {
                    cygnet_process_ids(pid, $0.baseAddress, UInt64($0.count))
                }
                failure = min(count, 0)
                return Int(max(count, 0))
            }
            if failure == -Int64(ERANGE), capacity < 1 << 20 {
                capacity *= 16
                continue
            }
            if failure != 0 { throw Self.unreadable("status", pid, CInt(failure)) }
            guard let ids = ProcessIDs(statusLines: text) else {
                throw WorkloadAttestorError(
                    .unreadable,
                    "cannot read the IDs of process \(pid): unexpected form of its status")
            }
            self = ids
            return
        }
    }

    /// Parses the lines `Uid:`, `Gid:` and `Groups:`; nil when one is missing or malformed.
    init?(statusLines text: String) {
        var fields: [Substring: [UInt32]] = [:]
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { return nil }
            var numbers: [UInt32] = []
            for word in line[line.index(after: colon)...].split(whereSeparator: {
                $0 == "\t" || $0 == " "
            }) {
                guard let number = UInt32(word) else { return nil }
                numbers.append(number)
            }
            fields[line[..<colon]] = numbers
        }
        guard let user = fields["Uid"], user.count == 4, let group = fields["Gid"],
            group.count == 4,
            let groups = fields["Groups"]
        else { return nil }
        self.effectiveUser = user[1]
        self.effectiveGroup = group[1]
        self.supplementaryGroups = groups
    }

    /// The path of the program file as the kernel knows it.
    ///
    /// - Throws: ``WorkloadAttestorError``.
    static func executablePath(_ pid: Int32) throws -> String {
        var file = cygnet_executable()
        var path = [CChar](repeating: 0, count: 4097)
        let result = cygnet_process_executable(pid, &file, &path, UInt32(path.count))
        if result != 0 { throw Self.unreadable("program path", pid, result) }
        return path.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    static func unreadable(_ what: String, _ pid: Int32, _ negativeErrno: CInt)
        -> WorkloadAttestorError
    {
        WorkloadAttestorError(
            negativeErrno == -ESRCH ? .processEnded : .unreadable,
            "cannot read the \(what) of process \(pid): \(String(cString: strerror(-negativeErrno)))"
        )
    }
}

/// Names of users and groups, asked from the system each time: the system has its own cache.
enum UserDatabase {
    static func userName(_ uid: UInt32) -> String? {
        Self.lookUp { buffer, size in
            var entry = passwd()
            var found: UnsafeMutablePointer<passwd>?
            let result = getpwuid_r(uid, &entry, buffer, size, &found)
            return (result, found.flatMap { $0.pointee.pw_name }.map { String(cString: $0) })
        }
    }

    static func groupName(_ gid: UInt32) -> String? {
        Self.lookUp { buffer, size in
            var entry = group()
            var found: UnsafeMutablePointer<group>?
            let result = getgrgid_r(gid, &entry, buffer, size, &found)
            return (result, found.flatMap { $0.pointee.gr_name }.map { String(cString: $0) })
        }
    }

    /// Repeats with a larger buffer while the system says that the entry does not fit.
    private static func lookUp(
        _ ask: (UnsafeMutablePointer<CChar>, Int) -> (CInt, String?)
    ) -> String? {
        var size = 2048
        while size <= 1 << 20 {
            let answer = withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
                buffer.baseAddress.map { ask($0, size) }
            }
            guard let answer else { return nil }
            if answer.0 == EINTR { continue }
            if answer.0 != ERANGE { return answer.0 == 0 ? answer.1 : nil }
            size *= 4
        }
        return nil
    }
}
