import Foundation
public import SPIFFE

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Keeps an X509-SVID, its key and the bundle as PEM files, for programs that only read files.
///
/// ```swift
/// try await withX509Source { source in
///     try await PEMFiles(folder: "/run/web/identity").keepFresh(from: source)
/// }
/// ```
///
/// The folder then has `svid.pem` (the chain, leaf first), `key.pem` (PKCS#8, readable by its owner only) and
/// `bundle.pem` (the authorities of the own trust domain).
///
/// ## What a reader sees
///
/// The three names are symbolic links through one link, `.current`, to a folder that is complete before it is linked and never
/// changed afterwards. Exchanging that one link, a single `rename`, exchanges all three files: at no moment do the
/// names lead to a certificate and a key that do not belong together, also after a crash. A program that
/// opens the files one after the other can still open one before the exchange and one after it; no files can
/// prevent that. It should compare them and read again, as most TLS libraries do when they refuse the pair. What was
/// open stays readable, and the state before the present one is kept for those who have resolved its path already.
///
/// Federated bundles are not written: a program that reads PEM would take each authority for one of every
/// trust domain.
public struct PEMFiles: Sendable {
    /// The names of the files in their folder.
    public struct Names: Hashable, Sendable {
        /// The chain, the leaf first.
        public var svid = "svid.pem"
        /// The private key.
        public var key = "key.pem"
        /// The authorities.
        public var bundle = "bundle.pem"

        /// The defaults.
        public init() {}

        var all: [String] { [self.svid, self.key, self.bundle] }
    }

    private static let link = ".current"
    private static let prefix = ".state-"

    private let folder: String
    private let names: Names
    private let picker: X509SVIDPicker

    /// - Parameters:
    ///   - folder: Made when it is not there. Nothing else should write into it.
    ///   - names: What the files are called.
    ///   - picker: Which identity, when there are several.
    public init(folder: String, names: Names = Names(), choosing picker: X509SVIDPicker = .first) {
        self.folder = folder
        self.names = names
        self.picker = picker
    }

    // MARK: Writing

    /// Writes each state of a source until the source or the task ends. The files stay.
    ///
    /// An identity that is withdrawn is taken away: the files are removed until there is one again.
    ///
    /// - Parameters:
    ///   - source: Whose states are written; somebody must run it.
    ///   - onWritten: Told the SVID after each exchange of the files, nil after their removal; the place to tell a
    ///     program to read them again.
    /// - Throws: ``PEMFilesError`` when the files cannot be written; those before it stay in force.
    public func keepFresh(
        from source: X509Source, onWritten: @Sendable (X509SVID?) async -> Void = { _ in }
    ) async throws {
        for await context in source.updates {
            await onWritten(try self.write(context))
        }
    }

    /// Writes one state, or removes the files when it has no identity that fits.
    ///
    /// - Returns: The SVID that was written.
    /// - Throws: ``PEMFilesError``.
    @discardableResult
    public func write(_ context: X509Context) throws(PEMFilesError) -> X509SVID? {
        guard let svid = try? self.picker(context.svids) else {
            try self.remove()
            return nil
        }
        let bundle = context.bundles.x509Bundle(for: svid.id.trustDomain)
        try self.write(svid: svid, bundle: bundle)
        return svid
    }

    /// Writes an X509-SVID and a bundle; nil is an empty one.
    ///
    /// - Throws: ``PEMFilesError``.
    public func write(svid: X509SVID, bundle: X509Bundle?) throws(PEMFilesError) {
        try self.checkNames()
        try self.makeFolder(self.folder, mayExist: true)
        let before = self.currentState()
        let state = Self.prefix + UUID().uuidString.prefix(8)
        let path = self.path(state)
        try self.makeFolder(path, mayExist: false)
        do throws(PEMFilesError) {
            try self.create("\(path)/\(self.names.key)", svid.privateKeyPEM, mode: 0o600)
            try self.create("\(path)/\(self.names.svid)", svid.certificatesPEM, mode: 0o644)
            try self.create("\(path)/\(self.names.bundle)", bundle?.pem ?? "", mode: 0o644)
            try self.setLink(Self.link, to: state)
        } catch {
            try? FileManager.default.removeItem(atPath: path)
            throw error
        }
        for name in self.names.all { try self.setLink(name, to: "\(Self.link)/\(name)") }
        self.removeStates(except: [state, before].compactMap { $0 })
    }

    /// Removes the files.
    ///
    /// - Throws: ``PEMFilesError`` when they are still there afterwards.
    public func remove() throws(PEMFilesError) {
        try self.checkNames()
        for name in [Self.link] + self.names.all {
            if unlink(self.path(name)) != 0, errno != ENOENT { throw self.error("remove", name) }
        }
        self.removeStates(except: [])
    }

    // MARK: Pieces

    private func path(_ name: String) -> String { "\(self.folder)/\(name)" }

    private func currentState() -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: self.path(Self.link))
    }

    private func checkNames() throws(PEMFilesError) {
        let names = self.names.all
        guard Set(names).count == names.count,
            names.allSatisfy({ !$0.isEmpty && !$0.hasPrefix(".") && !$0.contains("/") })
        else {
            throw PEMFilesError(
                message:
                    "file names \(names) rejected: expected three different names without \"/\" "
                    + "that do not begin with a dot")
        }
    }

    private func makeFolder(_ path: String, mayExist: Bool) throws(PEMFilesError) {
        if mkdir(path, 0o755) == 0 || mayExist && errno == EEXIST { return }
        throw PEMFilesError("make folder", path, errno)
    }

    /// Creates a file that is never readable by more than it shall be, not for a moment.
    private func create(_ path: String, _ text: String, mode: mode_t) throws(PEMFilesError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        if descriptor < 0 { throw PEMFilesError("create", path, errno) }
        defer { close(descriptor) }
        // The umask may have taken more than we want.
        if fchmod(descriptor, mode) != 0 { throw PEMFilesError("set the mode of", path, errno) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { writeBytes(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count <= 0 { throw PEMFilesError("write", path, errno) }
            rest = rest.dropFirst(count)
        }
    }

    /// Makes a name lead to a target in one step, whatever it was before.
    private func setLink(_ name: String, to target: String) throws(PEMFilesError) {
        let path = self.path(name)
        if (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) == target { return }
        let fresh = "\(path).\(UUID().uuidString.prefix(8))"
        if symlink(target, fresh) != 0 { throw PEMFilesError("link", fresh, errno) }
        if rename(fresh, path) != 0 {
            let code = errno
            unlink(fresh)
            throw PEMFilesError("replace", path, code)
        }
    }

    /// Removes states of earlier writes. One that cannot be removed harms nobody; the next write tries again.
    private func removeStates(except kept: [String]) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: self.folder)) ?? []
        for name in names where name.hasPrefix(Self.prefix) && !kept.contains(name) {
            try? FileManager.default.removeItem(atPath: self.path(name))
        }
    }

    private func error(_ what: String, _ name: String) -> PEMFilesError {
        PEMFilesError(what, self.path(name), errno)
    }
}

/// PEM files could not be written.
public struct PEMFilesError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What failed, on which file, and why.
    public let message: String

    init(message: String) { self.message = message }

    init(_ what: String, _ path: String, _ code: CInt) {
        self.message = "cannot \(what) \(path): \(String(cString: strerror(code)))"
    }

    public var description: String { self.message }
}

/// `write` of the system; inside the type that name is taken.
private func writeBytes(_ descriptor: CInt, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}
