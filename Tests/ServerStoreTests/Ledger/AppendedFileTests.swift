import Foundation
import ServerTestSupport
import Testing

@testable import ServerStore

@Suite("A file with zeros ahead of what is appended")
struct AppendedFileTests {
    @Test("what is appended stands behind what was there, then zeros")
    func appending() async throws {
        try await TemporaryFolder.with { folder in
            try folder.write("begin", to: "file")
            var file = try #require(AppendedFile(path: folder.file("file")))
            defer { file.close() }
            try file.append(Array(" one".utf8))
            try file.append(Array(" two".utf8))
            let bytes = try folder.read("file")
            #expect(bytes.prefix(13).elementsEqual("begin one two".utf8))
            #expect(bytes.count == 9 + AppendedFile.reserve)
            #expect(bytes.dropFirst(13).allSatisfy { $0 == 0 })
        }
    }

    @Test("what is longer than the zeros is there in full")
    func long() async throws {
        try await TemporaryFolder.with { folder in
            try folder.write("", to: "file")
            var file = try #require(AppendedFile(path: folder.file("file")))
            defer { file.close() }
            var expected: [UInt8] = []
            for (number, size) in [
                10, AppendedFile.reserve - 10, 1, AppendedFile.reserve * 2 + 3, 7,
            ]
            .enumerated() {
                let piece = [UInt8](repeating: UInt8(number) + 1, count: size)
                try file.append(piece)
                expected += piece
                let bytes = try folder.read("file")
                #expect(
                    bytes.count >= expected.count && bytes.prefix(expected.count) == expected[...])
                #expect(bytes.dropFirst(expected.count).allSatisfy { $0 == 0 })
            }
        }
    }

    @Test("a file that was removed is an error, and so is one that is not there")
    func removed() async throws {
        try await TemporaryFolder.with { folder in
            #expect(AppendedFile(path: folder.file("file")) == nil)
            try folder.write("", to: "file")
            var file = try #require(AppendedFile(path: folder.file("file")))
            defer { file.close() }
            try file.append([1])
            try FileManager.default.removeItem(atPath: folder.file("file"))
            let error = #expect(throws: LedgerStorageError.self) { try file.append([2]) }
            #expect(error?.message.contains("was removed") == true)
        }
    }

    @Test("a storage goes on behind what was replaced, not behind its zeros")
    func replaced() async throws {
        try await TemporaryFolder.with { folder in
            let storage = try DiskStorage(folder: folder.file("store"))
            try storage.replace("journal", with: Array("a".utf8), isDurable: true)
            try storage.append(Array("b".utf8), to: "journal")
            try storage.replace("journal", with: Array("c".utf8), isDurable: true)
            #expect(try folder.read("store/journal") == Array("c".utf8))
            try storage.append(Array("d".utf8), to: "journal")
            try storage.append(Array("e".utf8), to: "journal")
            #expect(try folder.read("store/journal").prefix(3).elementsEqual("cde".utf8))
        }
    }
}
