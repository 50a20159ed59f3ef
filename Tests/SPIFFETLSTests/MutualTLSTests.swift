import Foundation
import SPIFFE
import SPIFFETLS
import SPIFFETesting
import Testing

@Suite("Mutual TLS", .timeLimit(.minutes(1)))
struct MutualTLSTests {
    private let acme: TestAuthority
    private let partner: TestAuthority
    private let acmeBundle: X509Bundle
    private let server: X509SVID
    private let client: X509SVID

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.partner = try TestAuthority("partner.test")
        self.acmeBundle = try self.acme.x509Bundle
        self.server = try self.acme.x509SVID("/server")
        self.client = try self.acme.x509SVID("/client")
    }

    private func serverSide(
        svid: (any X509SVIDSource)? = nil, bundles: (any X509BundleSource)? = nil,
        authorizer: Authorizer? = nil,
        protocols: [String] = [],
        clientCertificate: MTLSServerConfiguration.ClientCertificate = .required
    ) -> MTLSServerConfiguration {
        MTLSServerConfiguration(
            svid: svid ?? self.server, bundles: bundles ?? self.acmeBundle,
            authorizer: authorizer ?? .exactly(self.client.id), applicationProtocols: protocols,
            clientCertificate: clientCertificate)
    }

    private func clientSide(
        svid: (any X509SVIDSource)? = nil, bundles: (any X509BundleSource)? = nil,
        authorizer: Authorizer? = nil
    ) -> MTLSClientConfiguration {
        MTLSClientConfiguration(
            svid: svid ?? self.client, bundles: bundles ?? self.acmeBundle,
            authorizer: authorizer ?? .exactly(self.server.id))
    }

    /// Expects that no data goes through, and returns what the server learnt.
    private func refused(
        _ server: MTLSServerConfiguration, _ client: MTLSClientConfiguration,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Seen {
        try await EchoServer.with(server) { running in
            await #expect(throws: (any Error).self, sourceLocation: sourceLocation) {
                try await running.call(client)
            }
            return running.seen
        }
    }

    @Test("both sides learn who the other is")
    func mutual() async throws {
        try await EchoServer.with(self.serverSide()) { running in
            let seen = try await running.call(self.clientSide())
            #expect(seen.verified == ["spiffe://acme.test/server"])
            #expect(running.seen.verified == ["spiffe://acme.test/client"])
            #expect(running.seen.refused.isEmpty)
        }
    }

    @Test(
        "every kind of key works on both sides",
        arguments: TestKeyType.allCases)
    func keys(_ keyType: TestKeyType) async throws {
        let server = try self.acme.x509SVID("/server", keyType: keyType)
        let client = try self.acme.x509SVID("/client", keyType: keyType)
        try await EchoServer.with(self.serverSide(svid: server)) { running in
            let seen = try await running.call(self.clientSide(svid: client))
            #expect(seen.verified.count == 1)
        }
    }

    @Test("TRAP-13: a client that is not authorized gets nothing through")
    func wrongClient() async throws {
        let seen = try await self.refused(
            self.serverSide(authorizer: .exactly(try SPIFFEID("spiffe://acme.test/other"))),
            self.clientSide())
        #expect(seen.verified.isEmpty)
        #expect(seen.refused.count == 1 && seen.refused[0].contains("not authorized"))
    }

    @Test("a server that is not the wanted one is refused by the client")
    func wrongServer() async throws {
        let seen = try await self.refused(
            self.serverSide(),
            self.clientSide(authorizer: .exactly(try SPIFFEID("spiffe://acme.test/other"))))
        #expect(seen.verified.isEmpty)
    }

    @Test(
        "X509-31: peers of trust domains without bundle, or signed by another's authority, are refused"
    )
    func trustDomains() async throws {
        let stranger = try self.partner.x509SVID("/client")
        _ = try await self.refused(
            self.serverSide(authorizer: .allowingAny), self.clientSide(svid: stranger))
        // The same name, another authority.
        let forger = try TestAuthority("acme.test")
        let forged = try forger.x509SVID("/client")
        _ = try await self.refused(
            self.serverSide(authorizer: .allowingAny), self.clientSide(svid: forged))
        let federated = try X509BundleSet([self.acmeBundle, self.partner.x509Bundle])
        try await EchoServer.with(self.serverSide(bundles: federated, authorizer: .allowingAny)) {
            running in
            _ = try await running.call(self.clientSide(svid: stranger))
            #expect(running.seen.verified == ["spiffe://partner.test/client"])
        }
    }

    @Test("X509-30: an expired client is refused")
    func expired() async throws {
        let old = try self.acme.x509SVID("/client", notAfter: Date() - 30)
        let seen = try await self.refused(
            self.serverSide(authorizer: .allowingAny), self.clientSide(svid: old))
        #expect(seen.refused.first?.contains("expired") == true)
    }

    @Test("X509-29: name constraints are checked inside the handshake")
    func nameConstraints() async throws {
        for (permitted, good) in [("acme.test", true), ("partner.test", false)] {
            let authority = try TestAuthority("acme.test", permittedURIDomains: [permitted])
            let client = self.clientSide(svid: try authority.x509SVID("/client"))
            let server = self.serverSide(bundles: try authority.x509Bundle)
            if good {
                try await EchoServer.with(server) { running in
                    _ = try await running.call(client)
                    #expect(running.seen.verified == ["spiffe://acme.test/client"])
                }
            } else {
                #expect(try await self.refused(server, client).verified.isEmpty)
            }
        }
    }

    @Test(
        "a client without certificate is refused, or connects unauthenticated where that is allowed"
    )
    func withoutCertificate() async throws {
        let bare = MTLSClientConfiguration(
            unauthenticatedWith: self.acmeBundle, authorizer: .exactly(self.server.id))
        #expect(try await self.refused(self.serverSide(), bare).verified.isEmpty)
        try await EchoServer.with(self.serverSide(clientCertificate: .optional)) { running in
            #expect(try await running.call(bare).verified == ["spiffe://acme.test/server"])
            #expect(running.seen.verified.isEmpty)
            // One that is presented must verify all the same.
            let stranger = try self.partner.x509SVID("/client")
            await #expect(throws: (any Error).self) {
                try await running.call(self.clientSide(svid: stranger))
            }
            #expect(running.seen.verified.isEmpty && running.seen.refused.count == 1)
            _ = try await running.call(self.clientSide())
            #expect(running.seen.verified == ["spiffe://acme.test/client"])
        }
    }

    @Test(
        "TRAP-12: rotation of identity and bundle counts from the next connection on, without restart"
    )
    func rotation() async throws {
        let source = TestX509Source(svid: self.server, bundles: [])
        let bundles = TestX509Source(svid: nil, bundles: [self.acmeBundle])
        try await EchoServer.with(
            self.serverSide(svid: source, bundles: bundles, authorizer: .allowingAny)
        ) { running in
            let any = { self.clientSide(bundles: bundles, authorizer: .allowingAny) }
            #expect(try await running.call(any()).verified == ["spiffe://acme.test/server"])
            source.set(svid: try self.acme.x509SVID("/server-2"))
            #expect(try await running.call(any()).verified == ["spiffe://acme.test/server-2"])
            source.set(svid: nil)
            await #expect(throws: (any Error).self) { try await running.call(any()) }
            let next = try TestAuthority("acme.test")
            source.set(svid: try next.x509SVID("/server-3"))
            bundles.set(bundles: [try next.x509Bundle])
            // The client still has an SVID of the authority that is gone.
            await #expect(throws: (any Error).self) { try await running.call(any()) }
            let renewed = self.clientSide(
                svid: try next.x509SVID("/client"), bundles: bundles, authorizer: .allowingAny)
            #expect(try await running.call(renewed).verified == ["spiffe://acme.test/server-3"])
        }
    }

    @Test("TRAP-12: every handshake verifies: two calls of one client are verified twice")
    func everyHandshake() async throws {
        try await EchoServer.with(self.serverSide()) { running in
            let client = self.clientSide()
            for _ in 0..<2 {
                let seen = try await running.call(client)
                #expect(seen.verified.count == 1)
            }
            #expect(running.seen.verified.count == 2)
        }
    }
}
