import Crypto
import Foundation
import Logging
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import SwiftASN1
import Testing
import X509

@testable import AgentCore

/// Keys in memory.
private final class TestKeys: KeyManager {
    private let keys = NIOLockedValueBox<[String: ManagedKey]>([:])

    func generateKey(id: String, type: KeyType) async throws -> ManagedKey {
        let key = try ManagedKey(
            id: id, type: type, privateKey: Certificate.PrivateKey(P256.Signing.PrivateKey()))
        self.keys.withLockedValue { $0[id] = key }
        return key
    }

    func key(id: String) async throws -> ManagedKey? { self.keys.withLockedValue { $0[id] } }
    func keyIDs() async throws -> [String] { self.keys.withLockedValue { Array($0.keys) } }
    func deleteKey(id: String) async throws { self.keys.withLockedValue { $0[id] = nil } }
}

private struct TestState: AgentStateStore {
    let state = NIOLockedValueBox<AgentState?>(nil)

    func load() throws -> AgentState? { self.state.withLockedValue { $0 } }
    func save(_ state: AgentState) throws { self.state.withLockedValue { $0 = state } }
}

/// A server that attests with one authority, says in the first session that it is tainted, and renews with another.
private struct TaintingServer: ServerConnection {
    let old: TestAuthority
    let new: TestAuthority
    /// Key IDs of the authorities of the SVIDs that sessions were opened with, in order.
    let sessions: AsyncStream<[UInt8]?>.Continuation
    let renewals = NIOLockedValueBox(0)

    private var bundle: AgentBundle {
        var bundle = self.old.bundle(isTainted: true)
        bundle.x509Authorities.append(.init(der: self.new.der))
        return bundle
    }

    func attest(
        joinToken: String, key: ManagedKey, trust: ServerTrust
    ) async throws -> NodeAttestationResult {
        NodeAttestationResult(
            chain: try self.old.sign(
                try SPIFFEID("spiffe://acme.test/spire/agent/join_token/a"),
                key.privateKey.publicKey),
            canReattest: false, bundle: self.old.bundle())
    }

    func renew(
        _ identity: AgentIdentity, newKey: ManagedKey, trust: ServerTrust
    ) async throws -> [[UInt8]] {
        self.renewals.withLockedValue { $0 += 1 }
        return try self.new.sign(identity.id, newKey.privateKey.publicKey)
    }

    func synchronise(
        as identity: AgentIdentity, trust: ServerTrust, session: any SyncSession
    ) async throws {
        self.sessions.yield(identity.authorityKeyID)
        _ = session.begin(isPush: true)
        session.receive(.bundles(BundleChange(upserted: [self.bundle], confirmation: 3)))
        try await Task.sleep(for: .seconds(3_600))
    }
}

@Suite("Agent lifecycle: taint", .timeLimit(.minutes(1)))
struct AgentLifecycleTaintTests {
    @Test("an agent whose own SVID rests on a tainted authority renews it at once, once")
    func renews() async throws {
        let old = try TestAuthority(name: "old")
        let new = try TestAuthority(name: "new")
        let (sessions, feed) = AsyncStream.makeStream(of: [UInt8]?.self)
        let server = TaintingServer(old: old, new: new, sessions: feed)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let listener = NIOLockedValueBox<AgentLifecycle?>(nil)
        let identities = WorkloadIdentities(
            trustDomain: acme, logger: logger,
            onOwnBundle: { bundle in listener.withLockedValue { $0 }?.bundleChanged(bundle) })
        let state = TestState()
        let lifecycle = AgentLifecycle(
            settings: .init(
                trustDomain: acme, bootstrap: .authorities { [old.der] }, joinToken: { "a" }),
            server: server, keyManager: TestKeys(), store: state, identities: identities,
            logger: logger)
        listener.withLockedValue { $0 = lifecycle }
        defer { listener.withLockedValue { $0 = nil } }
        let run = Task { try await lifecycle.run() }
        defer { run.cancel() }
        let oldID = SubjectKeyIdentifier(hash: old.certificate.publicKey).keyIdentifier
        let newID = SubjectKeyIdentifier(hash: new.certificate.publicKey).keyIdentifier
        var seen = sessions.makeAsyncIterator()
        #expect(await seen.next() == .some(Array(oldID)))
        #expect(await seen.next() == .some(Array(newID)))
        #expect(server.renewals.withLockedValue { $0 } == 1)
        let kept = try #require(state.state.withLockedValue { $0 }?.chain.first)
        let leaf = try Certificate(derEncoded: kept)
        #expect(try leaf.extensions.authorityKeyIdentifier?.keyIdentifier == newID)
        #expect(lifecycle.identity?.authorityKeyID == Array(newID))
    }
}
