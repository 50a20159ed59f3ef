import AgentCore
import Foundation
import Testing

@testable import AgentEndpoints

@Suite("agent-data.json")
struct AgentDataFileTests {
    /// A folder of its own for each test.
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
            .path
        var file: String { self.path + "/agent-data.json" }

        init() throws {
            try FileManager.default.createDirectory(
                atPath: self.path, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: self.path) }
    }

    @Test("nothing stored is no error")
    func missing() throws {
        #expect(try AgentDataFile(directory: Folder().path).load() == nil)
    }

    @Test("what is saved is read back, and nobody else may read it")
    func roundTrip() throws {
        let folder = try Folder()
        let store = AgentDataFile(directory: folder.path)
        let state = AgentState(chain: [[1, 2], [3]], bundle: [[4, 5, 6]], canReattest: true)
        try store.save(AgentState())
        try store.save(state)
        #expect(try store.load() == state)
        let mode = try FileManager.default.attributesOfItem(atPath: folder.file)[.posixPermissions]
        #expect((mode as? NSNumber)?.intValue == 0o600)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["agent-data.json"])
    }

    @Test("SPIRE's form is read: base64 of PEM, further members ignored")
    func spire() throws {
        let folder = try Folder()
        let pem = Data("-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n".utf8)
        let text = """
            {"svid":["\(pem.base64EncodedString())"],"bundle":null,"reattestable":true,"connection_attempts":3}
            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file))
        let state = try #require(try AgentDataFile(directory: folder.path).load())
        #expect(state == AgentState(chain: [[1, 2, 3]], bundle: [], canReattest: true))
    }

    @Test(
        "a damaged file is an error that says what to do",
        arguments: ["", "{", "[]", #"{"svid":["%"]}"#])
    func damaged(text: String) throws {
        let folder = try Folder()
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file))
        let error = #expect(throws: AgentError.self) {
            try AgentDataFile(directory: folder.path).load()
        }
        #expect(error?.code == .state)
        #expect(error?.message.contains(folder.file) == true)
    }
}
