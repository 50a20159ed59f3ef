import NIOCore
import NIOPosix
import SPIFFE
import SPIFFETLS
import SPIFFEWorkloadAPI

/// The code of the article on mTLS servers.
enum MTLSServers {
    static func server(_ source: X509Source) async throws {
        let billing = Authorizer.anyOf([
            .exactly(try SPIFFEID("spiffe://example.org/billing")),
            try .path("/ns/*/sa/web", in: try TrustDomain("example.org")),
        ])
        let server = MTLSServer(
            host: "0.0.0.0", port: 8443,
            configuration: MTLSServerConfiguration(
                svid: source, bundles: source, authorizer: billing))
        try await server.run(
            onListening: { port in print("listening on port \(port)") },
            onError: { error in print("a connection ended: \(error)") }
        ) { connection in
            for try await bytes in connection.inbound {
                try await connection.outbound.write(bytes)
            }
        }
    }

    static func bootstrap(_ tls: MTLSServerConfiguration) async throws -> any Channel {
        try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = try tls.makeHandler(
                        for: channel,
                        onVerified: { peer in print("\(peer.id) is about to connect") },
                        onRefused: { error in print("refused: \(error)") })
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .bind(host: "0.0.0.0", port: 8443).get()
    }

    static func watch(_ source: X509Source) async {
        for await context in source.updates {
            guard let svid = context.svids.first else { continue }
            print("\(svid.id) is valid until \(svid.expiresAt)")
        }
    }

    static func files(_ source: X509Source) async throws {
        try await PEMFiles(folder: "/run/web/identity").keepFresh(from: source) { svid in
            print(svid == nil ? "the files are gone" : "the files are new")
        }
    }
}
