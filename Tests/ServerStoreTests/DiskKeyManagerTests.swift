import Crypto
import Foundation
import PluginAPI
import Plugins
import SPIFFE
import SwiftASN1
import Testing
import X509

@Suite struct DiskKeyManagerTests {
    private static func open(_ folder: TemporaryFolder) throws -> DiskKeyManager {
        try DiskKeyManager(path: folder.file("keys.json"))
    }

    @Test(arguments: KeyType.allCases.map(\.rawValue))
    func `a key of each type comes back as the same key`(type: String) async throws {
        let type = try #require(KeyType(rawValue: type))
        try await TemporaryFolder.with { folder in
            let made = try await Self.open(folder).generateKey(id: "k", type: type)
            #expect(made.id == "k" && made.type == type)
            let file = try JSONValue(parsing: try folder.read("keys.json"))
            let text = try #require(file.objectValue?["keys"]?.objectValue?["k"]?.stringValue)
            // PKCS#8 of any kind of key is a sequence that starts with version 0 and an algorithm.
            let der = try #require(Data(base64Encoded: text))
            let start = try #require(der.firstRange(of: Data([0x02, 0x01, 0x00, 0x30])))
            #expect(start.lowerBound <= 4)
            let read = try #require(try await Self.open(folder).key(id: "k"))
            #expect(read.id == "k")
            #expect(read.type == type)
            #expect(read.publicKeyDER == made.publicKeyDER)
            #expect(read.privateKey == made.privateKey)
        }
    }

    @Test func `a name that is taken gets the new key; others keep theirs`() async throws {
        try await TemporaryFolder.with { folder in
            let manager = try Self.open(folder)
            let other = try await manager.generateKey(id: "other", type: .ecP256)
            let old = try await manager.generateKey(id: "k", type: .ecP256)
            let new = try await manager.generateKey(id: "k", type: .ecP384)
            #expect(old.publicKeyDER != new.publicKeyDER)
            for keys in [manager, try Self.open(folder)] {
                #expect(try await keys.key(id: "k")?.publicKeyDER == new.publicKeyDER)
                #expect(try await keys.key(id: "other")?.publicKeyDER == other.publicKeyDER)
                #expect(try await keys.key(id: "none") == nil)
            }
        }
    }

    @Test func `a deleted key does not come back; others stay`() async throws {
        try await TemporaryFolder.with { folder in
            let manager = try Self.open(folder)
            let kept = try await manager.generateKey(id: "kept", type: .ecP256)
            _ = try await manager.generateKey(id: "gone", type: .ecP256)
            #expect(try await manager.keyIDs().sorted() == ["gone", "kept"])
            try await manager.deleteKey(id: "gone")
            try await manager.deleteKey(id: "never")
            for keys in [manager, try Self.open(folder)] {
                #expect(try await keys.keyIDs() == ["kept"])
                #expect(try await keys.key(id: "gone") == nil)
                #expect(try await keys.key(id: "kept")?.publicKeyDER == kept.publicKeyDER)
            }
        }
    }

    @Test func `without a file there are no keys yet`() async throws {
        try await TemporaryFolder.with { folder in
            let key = try await Self.open(folder).key(id: "k")
            #expect(key == nil)
            #expect(!FileManager.default.fileExists(atPath: folder.file("keys.json")))
        }
    }

    @Test func `the file is for its owner only and replaced as a whole`() async throws {
        try await TemporaryFolder.with { folder in
            let manager = try Self.open(folder)
            _ = try await manager.generateKey(id: "a", type: .ecP256)
            #expect(try folder.mode("keys.json") == 0o600)
            // A second name keeps the old file; a rename leaves it as it was, writing into it would not.
            try FileManager.default.linkItem(
                atPath: folder.file("keys.json"), toPath: folder.file("old.json"))
            let old = try folder.read("old.json")
            _ = try await manager.generateKey(id: "b", type: .ecP256)
            #expect(try folder.read("old.json") == old)
            #expect(try folder.read("keys.json") != old)
            #expect(try folder.mode("keys.json") == 0o600)
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
                    == ["keys.json", "old.json"])
        }
    }

    @Test(arguments: [0o640, 0o604, 0o660, 0o644, 0o610, 0o601])
    func `a file that others may touch is refused`(mode: Int) async throws {
        try await TemporaryFolder.with { folder in
            _ = try await Self.open(folder).generateKey(id: "k", type: .ecP256)
            try FileManager.default.setAttributes(
                [.posixPermissions: mode], ofItemAtPath: folder.file("keys.json"))
            let error = #expect(throws: KeyManagerError.self) { try Self.open(folder) }
            #expect(error?.code == .unreadable)
            #expect(error?.message.contains("chmod 600") == true)
        }
    }

    @Test(arguments: [
        "", "hello", "{}", "[]", "{\"keys\":[]}", "{\"keys\":{\"k\":5}}",
        "{\"keys\":{\"k\":\"%%%\"}}",
        "{\"keys\":{\"k\":\"\"}}", "{\"keys\":{\"k\":\"aGVsbG8=\"}}", "{\"keys\":{}", "\0",
    ])
    func `a file of another form is refused, named, and left alone`(text: String) async throws {
        try await TemporaryFolder.with { folder in
            try folder.write(text, to: "keys.json")
            let error = #expect(throws: KeyManagerError.self) { try Self.open(folder) }
            #expect(error?.code == .unreadable)
            #expect(error?.message.contains(folder.file("keys.json")) == true)
            #expect(try folder.read("keys.json") == Array(text.utf8))
        }
    }

    @Test func `a file cut off at any place is refused`() async throws {
        try await TemporaryFolder.with { folder in
            _ = try await Self.open(folder).generateKey(id: "k", type: .ecP256)
            let whole = try folder.read("keys.json")
            for length in stride(from: 0, to: whole.count - 1, by: 5) {
                try Data(whole[..<length]).write(to: URL(fileURLWithPath: folder.file("keys.json")))
                #expect(throws: KeyManagerError.self) { try Self.open(folder) }
            }
        }
    }

    @Test func `a key of a kind that is not used is refused`() async throws {
        let pem = try Certificate.PrivateKey(P521.Signing.PrivateKey()).serializeAsPEM()
        let text = Data(pem.derBytes).base64EncodedString()
        try await TemporaryFolder.with { folder in
            try folder.write("{\"keys\":{\"k\":\"\(text)\"}}", to: "keys.json")
            #expect(throws: KeyManagerError.self) { try Self.open(folder) }
        }
    }

    @Test func `a folder, a symbolic link and a huge file are refused`() async throws {
        try await TemporaryFolder.with { folder in
            try FileManager.default.createDirectory(
                atPath: folder.file("keys.json"), withIntermediateDirectories: false)
            #expect(throws: KeyManagerError.self) { try Self.open(folder) }
        }
        try await TemporaryFolder.with { folder in
            _ = try await DiskKeyManager(path: folder.file("real")).generateKey(
                id: "k", type: .ecP256)
            try FileManager.default.createSymbolicLink(
                atPath: folder.file("keys.json"), withDestinationPath: folder.file("real"))
            #expect(throws: KeyManagerError.self) { try Self.open(folder) }
        }
        try await TemporaryFolder.with { folder in
            try folder.write(String(repeating: " ", count: (1 << 20) + 1), to: "keys.json")
            #expect(throws: KeyManagerError.self) { try Self.open(folder) }
        }
    }

    @Test func `when the file cannot be written the old keys stay, in memory and on disk`()
        async throws
    {
        try await TemporaryFolder.with { folder in
            let manager = try Self.open(folder)
            let old = try await manager.generateKey(id: "k", type: .ecP256)
            let file = try folder.read("keys.json")
            // In the way of the temporary file; holds for root as well.
            try FileManager.default.createDirectory(
                atPath: folder.file("keys.json.tmp"), withIntermediateDirectories: false)
            for id in ["k", "new"] {
                let error = await #expect(throws: KeyManagerError.self) {
                    try await manager.generateKey(id: id, type: .ecP256)
                }
                #expect(error?.code == .notStored)
            }
            #expect(try await manager.key(id: "k")?.publicKeyDER == old.publicKeyDER)
            #expect(try await manager.key(id: "new") == nil)
            #expect(try folder.read("keys.json") == file)
            try FileManager.default.removeItem(atPath: folder.file("keys.json.tmp"))
            let new = try await manager.generateKey(id: "k", type: .ecP256)
            #expect(try await Self.open(folder).key(id: "k")?.publicKeyDER == new.publicKeyDER)
        }
    }

    @Test func `a temporary file that a crash left behind is no obstacle and is never read`()
        async throws
    {
        try await TemporaryFolder.with { folder in
            try folder.write("half a fi", to: "keys.json.tmp", mode: 0o644)
            let manager = try Self.open(folder)
            #expect(try await manager.key(id: "k") == nil)
            _ = try await manager.generateKey(id: "k", type: .ecP256)
            #expect(try folder.mode("keys.json") == 0o600)
            #expect(try await Self.open(folder).key(id: "k") != nil)
        }
    }

    @Test func `keys made at the same time all end up in the file`() async throws {
        try await TemporaryFolder.with { folder in
            let manager = try Self.open(folder)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<16 {
                    group.addTask {
                        _ = try await manager.generateKey(id: "k\(number)", type: .ecP256)
                    }
                }
                try await group.waitForAll()
            }
            let again = try Self.open(folder)
            for number in 0..<16 {
                let id = "k\(number)"
                #expect(
                    try await again.key(id: id)?.publicKeyDER
                        == (try await manager.key(id: id)?.publicKeyDER))
            }
        }
    }
}
