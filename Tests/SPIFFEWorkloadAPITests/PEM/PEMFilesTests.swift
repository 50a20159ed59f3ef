import Foundation
import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing

@Suite("PEM files", .timeLimit(.minutes(1))) final class PEMFilesTests {
    private let folder = FileManager.default.temporaryDirectory
        .appendingPathComponent("pem-\(UUID().uuidString)").path
    private let authority: TestAuthority

    init() throws { self.authority = try TestAuthority("acme.test") }

    deinit { try? FileManager.default.removeItem(atPath: self.folder) }

    private func text(_ name: String) throws -> String {
        try String(contentsOfFile: "\(self.folder)/\(name)", encoding: .utf8)
    }

    private func read() throws -> (svid: X509SVID, bundle: X509Bundle) {
        (
            try X509SVID(
                certificatesPEM: try self.text("svid.pem"), privateKeyPEM: try self.text("key.pem")),
            try X509Bundle(
                trustDomain: self.authority.trustDomain, pem: try self.text("bundle.pem"))
        )
    }

    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: self.folder).sorted()
    }

    @Test("What was written is what is read, chain and bundle of several included")
    func content() throws {
        let svid = try self.authority.x509SVID("/web", intermediates: 2)
        try self.authority.rotate()
        let bundle = try self.authority.x509Bundle
        try PEMFiles(folder: self.folder).write(svid: svid, bundle: bundle)
        let found = try self.read()
        #expect(found.svid == svid)
        #expect(found.bundle == bundle && bundle.authorities.count == 2)
    }

    @Test("The key is for its owner only, the rest for everybody, whatever the umask")
    func modes() throws {
        try PEMFiles(folder: self.folder).write(
            svid: try self.authority.x509SVID("/web"), bundle: nil)
        for (name, mode) in [("key.pem", 0o600), ("svid.pem", 0o644), ("bundle.pem", 0o644)] {
            let path = URL(fileURLWithPath: "\(self.folder)/\(name)").resolvingSymlinksInPath().path
            let found = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
            #expect((found as? NSNumber)?.intValue == mode, "\(name)")
        }
    }

    @Test("Each write exchanges all three at once, and only the state before it is kept")
    func exchange() throws {
        let files = PEMFiles(folder: self.folder)
        var open: FileHandle?
        var first: X509SVID?
        for number in 0..<5 {
            let svid = try self.authority.x509SVID("/web")
            try files.write(svid: svid, bundle: try self.authority.x509Bundle)
            #expect(try self.read().svid == svid)
            if number == 0 {
                first = svid
                open = FileHandle(forReadingAtPath: "\(self.folder)/svid.pem")
            }
        }
        let states = try self.names().filter { $0.hasPrefix(".state-") }
        #expect(states.count == 2)
        // What was open when the files were exchanged can be read to its end.
        let old = try #require(try open?.readToEnd())
        #expect(String(decoding: old, as: UTF8.self) == first?.certificatesPEM)
    }

    @Test("A reader that looks all the time never finds a pair that does not match")
    func neverMismatched() async throws {
        let folder = self.folder
        let files = PEMFiles(folder: folder)
        try files.write(svid: try self.authority.x509SVID("/web"), bundle: nil)
        let svids = try (0..<200).map { _ in try self.authority.x509SVID("/web") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for svid in svids { try files.write(svid: svid, bundle: nil) }
            }
            var pairs = 0
            var last: X509SVID?
            while last != svids[199] {
                // One resolution of the link stands for a reader that looks at one moment.
                let state = try FileManager.default.destinationOfSymbolicLink(
                    atPath: "\(folder)/.current")
                guard let svid = try? self.text("\(state)/svid.pem"),
                    let key = try? self.text("\(state)/key.pem")
                else { continue }
                last = try X509SVID(certificatesPEM: svid, privateKeyPEM: key)
                pairs += 1
                await Task.yield()
            }
            #expect(pairs > 0)
            try await group.waitForAll()
        }
    }

    @Test("Files that were there before are replaced; leftovers of a crash are cleared away")
    func leftovers() throws {
        try FileManager.default.createDirectory(
            atPath: "\(self.folder)/.state-old", withIntermediateDirectories: true)
        try "old".write(toFile: "\(self.folder)/svid.pem", atomically: true, encoding: .utf8)
        let svid = try self.authority.x509SVID("/web")
        try PEMFiles(folder: self.folder).write(svid: svid, bundle: nil)
        #expect(try self.read().svid == svid)
        #expect(try !self.names().contains(".state-old"))
    }

    @Test("An identity that is withdrawn takes its files with it")
    func withdrawn() throws {
        let files = PEMFiles(folder: self.folder)
        try files.write(svid: try self.authority.x509SVID("/web"), bundle: nil)
        #expect(try files.write(.empty) == nil)
        #expect(try self.names().isEmpty)
        try files.remove()
    }

    @Test(
        "Names that leave the folder, hide or clash are refused; a folder that cannot be is reported"
    )
    func badNames() throws {
        let svid = try self.authority.x509SVID("/web")
        for name in ["../svid.pem", "", ".svid", "key.pem"] {
            var names = PEMFiles.Names()
            names.svid = name
            #expect(throws: PEMFilesError.self) {
                try PEMFiles(folder: self.folder, names: names).write(svid: svid, bundle: nil)
            }
        }
        #expect(throws: PEMFilesError.self) {
            try PEMFiles(folder: "/proc/nowhere").write(svid: svid, bundle: nil)
        }
    }

    @Test("A source keeps them fresh")
    func source() async throws {
        let fake = try FakeWorkloadAPI()
        let files = PEMFiles(folder: self.folder)
        try fake.serve(self.authority, paths: ["/web"])
        try await fake.serving {
            try await withX509Source(
                address: fake.address, readyWithin: patience, configuration: quick
            ) { source in
                let (writes, written) = AsyncStream.makeStream(of: X509SVID?.self)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    defer { group.cancelAll() }
                    group.addTask {
                        try await files.keepFresh(from: source) { written.yield($0) }
                    }
                    var next = writes.makeAsyncIterator()
                    let first = try #require(await next.next() ?? nil)
                    #expect(try self.read().svid == first)
                    try fake.serve(self.authority, paths: ["/web"])
                    let second = try #require(await next.next() ?? nil)
                    #expect(second != first)
                    #expect(try self.read().svid == second)
                    #expect(try self.read().bundle == self.authority.x509Bundle)
                    fake.set(x509: .empty)
                    let gone = await next.next()
                    #expect(gone == .some(nil))
                    #expect(try self.names().isEmpty)
                }
            }
        }
    }
}
