import Foundation
import SPIFFE
import SPIFFETLS
import SPIFFETesting
import Testing

/// A resumed handshake verifies nobody, so none may be. OpenSSL's client tries it; NIOSSL's cannot.
@Suite(
    "No session resumption",
    .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/openssl")))
struct ResumptionTests {
    @Test(
        "TRAP-12: a client that offers its old session gets a full handshake and is verified again")
    func offeredSession() async throws {
        let authority = try TestAuthority("acme.test")
        let server = try authority.x509SVID("/server")
        let client = try authority.x509SVID("/client")
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "cygnet-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
        try Data(client.concatenatedDER).write(to: URL(fileURLWithPath: path("client.der")))
        try Data(client.privateKeyDER).write(to: URL(fileURLWithPath: path("key.der")))
        let configuration = MTLSServerConfiguration(
            svid: server, bundles: try authority.x509Bundle, authorizer: .exactly(client.id))
        try await EchoServer.with(configuration) { running in
            let common = [
                "s_client", "-connect", "127.0.0.1:\(running.port)", "-ign_eof", "-cert",
                path("client.der"), "-certform",
                "DER", "-key", path("key.der"), "-keyform", "DER",
            ]
            let first = try await Self.openssl(common + ["-sess_out", path("session")])
            #expect(first.contains("New, TLSv1.3"))
            #expect(running.seen.verified.count == 1)
            // Without a ticket the test would prove nothing.
            #expect(FileManager.default.fileExists(atPath: path("session")))
            let second = try await Self.openssl(common + ["-sess_in", path("session")])
            #expect(second.contains("New, TLSv1.3"))
            #expect(!second.contains("Reused"))
            #expect(running.seen.verified.count == 2)
        }
    }

    private static func openssl(_ arguments: [String]) async throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        let input = Pipe()
        let output = Pipe()
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        return try await withCheckedThrowingContinuation { continuation in
            process.terminationHandler = { _ in
                let data = output.fileHandleForReading.readDataToEndOfFile()
                continuation.resume(returning: String(decoding: data, as: UTF8.self))
            }
            do {
                try process.run()
                try input.fileHandleForWriting.write(contentsOf: Data("ping\n".utf8))
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }
}
