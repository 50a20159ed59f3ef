package import AgentCore
import Foundation
import SwiftASN1

/// `agent-data.json`: the agent's SVID and its trust domain's authorities, in the form of SPIRE's
/// agent, so that either can take over from the other.
///
/// Members: `svid` and `bundle`, lists of base64 of one PEM certificate each, and `reattestable`.
/// Mode 0600; replaced as a whole (written beside, synced, renamed, folder synced).
package struct AgentDataFile: AgentStateStore {
    private struct Contents: Codable {
        var svid: [String]?
        var bundle: [String]?
        var reattestable: Bool?
    }

    private let path: String

    /// - Parameter directory: The agent's data directory; must exist.
    package init(directory: String) {
        self.path =
            directory.hasSuffix("/")
            ? directory + "agent-data.json" : directory + "/agent-data.json"
    }

    package func load() throws -> AgentState? {
        let data: Data
        do { data = try Data(contentsOf: URL(fileURLWithPath: self.path)) } catch let error
            as CocoaError
            where error.code == .fileReadNoSuchFile
        {
            return nil
        } catch {
            throw AgentError(.state, "cannot read \(self.path): \(error)")
        }
        do {
            let contents = try JSONDecoder().decode(Contents.self, from: data)
            return AgentState(
                chain: try Self.certificates(contents.svid),
                bundle: try Self.certificates(contents.bundle),
                canReattest: contents.reattestable ?? false)
        } catch {
            throw AgentError(
                .state,
                "\(self.path) is not an agent's data file; restore it, or remove it and attest again"
            )
        }
    }

    package func save(_ state: AgentState) throws {
        let contents = Contents(
            svid: Self.texts(state.chain), bundle: Self.texts(state.bundle),
            reattestable: state.canReattest)
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            try self.replace(with: try encoder.encode(contents))
        } catch let error as AgentError {
            throw error
        } catch {
            throw AgentError(.state, "cannot encode \(self.path): \(error)")
        }
    }

    // MARK: Form

    private static func texts(_ certificates: [[UInt8]]) -> [String] {
        certificates.map { der in
            let pem = PEMDocument(type: "CERTIFICATE", derBytes: der).pemString + "\n"
            return Data(pem.utf8).base64EncodedString()
        }
    }

    /// Each element is base64 of PEM text (one or more certificates) or of plain DER.
    private static func certificates(_ texts: [String]?) throws -> [[UInt8]] {
        try (texts ?? []).flatMap { text -> [[UInt8]] in
            guard let data = Data(base64Encoded: text) else {
                throw AgentError(.state, "not base64")
            }
            let string = String(decoding: data, as: UTF8.self)
            guard string.contains("-----BEGIN") else { return [[UInt8](data)] }
            return try PEMDocument.parseMultiple(pemString: string).map(\.derBytes)
        }
    }

    // MARK: Writing

    private func replace(with data: Data) throws {
        func failure(_ what: String) -> AgentError {
            AgentError(.state, "cannot \(what) \(self.path): \(String(cString: strerror(errno)))")
        }
        let temporary = self.path + ".tmp"
        unlink(temporary)
        let descriptor = open(
            temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("create") }
        let isWritten = data.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = write(
                    descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                if count <= 0 { return false }
                rest = rest.dropFirst(count)
            }
            return fsync(descriptor) == 0
        }
        let problem = isWritten ? nil : failure("write")
        close(descriptor)
        if let problem {
            unlink(temporary)
            throw problem
        }
        guard rename(temporary, self.path) == 0 else {
            let problem = failure("replace")
            unlink(temporary)
            throw problem
        }
        let folder = open(
            URL(fileURLWithPath: self.path).deletingLastPathComponent().path, O_RDONLY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }
}
