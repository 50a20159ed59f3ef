import Foundation
import SPIFFE
import SPIFFETLS
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing

/// The code of the article on testing; each is a test of its own here.
@Suite("Examples of the article on testing", .timeLimit(.minutes(1)))
struct TestingProgramsTests {
    @Test func greetsItsFriends() async throws {
        let authority = try TestAuthority("example.org")
        let server = try TestX509Source(authority, "/greeter")
        let client = try TestX509Source(authority, "/friend")
        let port = AsyncStream.makeStream(of: Int.self)

        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                let tls = MTLSServerConfiguration(
                    svid: server, bundles: server, authorizer: .exactly(try authority.id("/friend"))
                )
                try await MTLSServer(host: "127.0.0.1", port: 0, configuration: tls).run(
                    onListening: { port.continuation.yield($0) }
                ) { connection in
                    try await connection.write("hello \(connection.peer.id.path)")
                }
            }
            for await port in port.stream {
                let tls = MTLSClientConfiguration(
                    svid: client, bundles: client,
                    authorizer: .exactly(try authority.id("/greeter")))
                let greeting = try await MTLSConnection.connect(
                    host: "127.0.0.1", port: port, configuration: tls
                ) { try await $0.readText() }
                #expect(greeting == "hello /friend")
                break
            }
            group.cancelAll()
        }
    }

    @Test func refusesWhatHasExpired() async throws {
        let authority = try TestAuthority("example.org")
        let old = try authority.x509SVID("/web", notAfter: Date() - 60)
        let verifier = X509SVIDVerifier(bundles: try authority.x509Bundle)
        let error = await #expect(throws: X509SVIDError.self) {
            try await verifier.verify(chainDER: old.certificateChainDER)
        }
        #expect(error?.code == .expired)
    }

    @Test func survivesTheAgent() async throws {
        let authority = try TestAuthority("example.org")
        let api = try FakeWorkloadAPI()
        try api.serve(authority, paths: ["/web"])
        try await api.serving {
            try await withX509Source(address: api.address) { source in
                api.fail(.fetchX509SVID, with: .unavailable)
                await api.waitForCalls(of: .fetchX509SVID, atLeast: 2)
                let id = try source.x509SVID().id
                #expect(id.path == "/web")

                try authority.rotate()
                try api.serve(authority, paths: ["/web"])
                api.recover(.fetchX509SVID)
            }
        }
    }
}
