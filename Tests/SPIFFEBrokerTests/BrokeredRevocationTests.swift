import GRPCCore
import SPIFFE
import SPIFFETLS
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing

@testable import SPIFFEBroker

/// What a broker's source knows of X509-SVIDs that were taken back.
@Suite struct BrokeredRevocationTests {
    private let authority: TestAuthority
    private let source: BrokeredX509Source

    init() throws {
        let authority = try TestAuthority("acme.test")
        let client = try BrokerClient(
            address: try BrokerAddress("unix:///nobody"), svid: try authority.x509SVID("/broker"),
            bundles: try authority.x509Bundle, server: .allowingAny)
        self.authority = authority
        self.source = BrokeredX509Source(client: client, of: try .process(1))
    }

    private func send(_ crls: [[UInt8]]) throws {
        self.source.update(
            X509Context(
                svids: [try self.authority.x509SVID("/web")],
                bundles: X509BundleSet([try self.authority.x509Bundle]), revocationLists: crls))
    }

    /// The code with which a verifier that goes by the source refuses an SVID; nil when it does not.
    private func refusal(of svid: X509SVID) async -> X509SVIDError.Code? {
        do throws(X509SVIDError) {
            _ = try await X509SVIDVerifier(bundles: self.source)
                .verify(chainDER: svid.certificateChainDER)
            return nil
        } catch {
            return error.code
        }
    }

    @Test func `a certificate that a message takes back is refused`() async throws {
        let peer = try self.authority.x509SVID("/peer")
        try self.send([try self.authority.certificateRevocationList()])
        #expect(await self.refusal(of: peer) == nil)
        self.authority.revoke(peer)
        try self.send([try self.authority.certificateRevocationList()])
        #expect(await self.refusal(of: peer) == .revoked)
        #expect(await self.refusal(of: try self.authority.x509SVID("/other")) == nil)
    }

    @Test func `a list that is bad or left out does not bring anybody back`() async throws {
        let peer = try self.authority.x509SVID("/peer")
        self.authority.revoke(peer)
        try self.send([try self.authority.certificateRevocationList()])
        for crls: [[UInt8]] in [[], [[0x30, 0x00]]] {
            try self.send(crls)
            #expect(await self.refusal(of: peer) == .revoked)
        }
    }

    @Test func `observers are told`() async throws {
        let (changes, changed) = AsyncStream.makeStream(of: Void.self)
        let observation = self.source.observeRevocations { changed.yield() }
        try self.send([try self.authority.certificateRevocationList()])
        changed.finish()
        var count = 0
        for await _ in changes { count += 1 }
        #expect(count == 1)
        withExtendedLifetime(observation) {}
    }

    @Test func `when the workload has ended nothing is known any more`() async throws {
        try self.send([try self.authority.certificateRevocationList()])
        #expect(self.source.revocations(for: self.authority.trustDomain) != nil)
        self.source.failed(
            BrokerError(
                RPCError(code: .notFound, message: "gone"), calling: "X",
                at: try BrokerAddress("unix:///nobody"), refusal: nil))
        #expect(self.source.revocations(for: self.authority.trustDomain) == nil)
    }
}
