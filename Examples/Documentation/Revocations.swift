import NIOCore
import NIOSSL
import SPIFFE
import SPIFFETLS
import SPIFFETesting
import SPIFFEWorkloadAPI

/// The code of the article on identities that are taken back.
enum Revocations {
    static func policy(_ source: X509Source, _ clients: Authorizer) -> MTLSServerConfiguration {
        let server = MTLSServerConfiguration(
            svid: source, bundles: source, authorizer: clients,
            revocation: .failClosed(after: .seconds(600)))
        return server
    }

    static func handler(
        _ tls: MTLSServerConfiguration, _ channel: any Channel
    ) throws -> NIOSSLServerHandler {
        let handler = try tls.makeHandler(for: channel)
        return handler
    }

    static func testing(
        _ authority: TestAuthority, _ client: TestX509Source, _ server: TestX509Source
    ) throws {
        authority.revoke(try client.x509SVID())
        server.set(revocations: [try authority.trustDomainRevocations()])
    }
}
