import SPIFFE
import SPIFFEHTTP
import SPIFFETLS
import SPIFFEWorkloadAPI

/// The code of the article on mTLS clients.
enum MTLSClients {
    static func connect(_ source: X509Source) async throws {
        let database = try SPIFFEID("spiffe://example.org/database")
        let tls = MTLSClientConfiguration(
            svid: source, bundles: source, authorizer: .exactly(database))
        let answer = try await MTLSConnection.connect(
            host: "db.internal", port: 8443, configuration: tls
        ) { connection in
            try await connection.write("how are you?\n")
            return try await connection.readText(atMost: 1024)
        }
        print(answer)
    }

    static func http(_ source: X509Source) async throws {
        let reports = try SPIFFEID("spiffe://example.org/reports")
        let client = SPIFFEHTTPClient(
            tls: MTLSClientConfiguration(
                svid: source, bundles: source, authorizer: .exactly(reports)))
        let response = try await client.get("https://reports.internal:8443/today")
        print(response.peer.id, response.status, response.text)
    }
}
