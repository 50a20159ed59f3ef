import NIOCore
import SPIFFE
import SPIFFETLS
import SPIFFEWorkloadAPI

/// Both ends of mTLS with lines of text.
enum TLSPeer {
    /// Echoes what authorized clients send, until it is ended.
    static func listen(port: Int, _ client: SPIFFEID) async throws {
        try await withX509Source { source in
            let server = MTLSServer(
                host: "127.0.0.1", port: port,
                configuration: MTLSServerConfiguration(
                    svid: source, bundles: source, authorizer: .exactly(client)))
            try await server.run(
                onListening: { SDKPeer.say(["listening": .int(Int64($0))]) },
                onError: { SDKPeer.say(["refused": .string("\($0)")]) }
            ) { connection in
                SDKPeer.say(["peer": .string(connection.peer.id.string)])
                for try await bytes in connection.inbound {
                    try await connection.outbound.write(bytes)
                }
            }
        }
    }

    /// Sends a line and prints what comes back.
    static func connect(port: Int, _ server: SPIFFEID) async throws {
        try await withX509Source { source in
            try await MTLSConnection.connect(
                host: "127.0.0.1", port: port,
                configuration: MTLSClientConfiguration(
                    svid: source, bundles: source, authorizer: .exactly(server))
            ) { connection in
                try await connection.write("ping\n")
                var answer = ""
                for try await bytes in connection.inbound {
                    answer += String(buffer: bytes)
                    if answer.contains("\n") { break }
                }
                SDKPeer.say([
                    "peer": .string(connection.peer.id.string), "answer": .string(answer),
                ])
            }
        }
    }
}
