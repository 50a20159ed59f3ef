import SPIFFE
import SPIFFEBroker
import SPIFFEWorkloadAPI

/// The code of the article on `SPIFFEBroker`.
enum Brokers {
    static func run() async throws {
        try await withX509Source { own in
            let agents = try Authorizer.path(
                "/spire/agent/**", in: try own.x509SVID().id.trustDomain)
            try await BrokerClient.with(svid: own, bundles: own, server: agents) { client in
                let source = BrokeredX509Source(client: client, of: try .process(4711))
                // Pass `source` to SPIFFETLS for what is done in the name of this workload, and for nothing else.
                try await source.run()
            }
        }
    }
}
