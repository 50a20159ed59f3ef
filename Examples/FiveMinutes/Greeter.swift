import SPIFFE
import SPIFFETLS
import SPIFFEWorkloadAPI

@main struct Greeter {
    static func main() async throws {
        try await withX509Source { source in
            let me = try source.x509SVID().id
            let friends = Authorizer.member(of: me.trustDomain)
            if CommandLine.arguments.contains("call") {
                let tls = MTLSClientConfiguration(
                    svid: source, bundles: source, authorizer: friends)
                try await MTLSConnection.connect(
                    host: "127.0.0.1", port: 8443, configuration: tls
                ) { connection in
                    print(try await connection.readText())
                }
            } else {
                let tls = MTLSServerConfiguration(
                    svid: source, bundles: source, authorizer: friends)
                let server = MTLSServer(host: "127.0.0.1", port: 8443, configuration: tls)
                print("\(me) listens on port 8443")
                try await server.run { connection in
                    try await connection.write("hello \(connection.peer.id), I am \(me)")
                }
            }
        }
    }
}
