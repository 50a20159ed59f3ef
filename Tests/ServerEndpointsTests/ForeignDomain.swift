import Crypto
import Foundation
import PluginAPI
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftASN1
import X509

/// The authority of `other.test`.
struct ForeignDomain: Sendable {
    let bundle: TrustBundle
    private let issuer: Issuer

    init(clock: TestClock) async throws {
        let domain = try TrustDomain("other.test")
        let store = MemoryStore()
        let recorder = MemoryRecorder()
        let keys = try await TestPlane().keys
        let authorities = AuthorityManager(
            trustDomain: domain, settings: .init(), keyManager: keys, journal: store,
            bundles: store,
            recorder: recorder, logger: TestPlane.logger, now: clock.now)
        try await authorities.start(ownBundle: nil)
        self.issuer = try Issuer(
            trustDomain: domain, settings: .init(), authorities: authorities, recorder: recorder,
            now: clock.now)
        self.bundle = try await store.updateBundle(domain) { _ in }
    }

    func identity(_ path: String) async throws -> TestIdentity {
        let key = P256.Signing.PrivateKey()
        let svid = try await self.issuer.issue(
            X509Issuance(
                spiffeID: try SPIFFEID(trustDomain: self.issuer.trustDomain, path: path),
                publicKey: Certificate.PublicKey(key.publicKey), origin: .mint),
            requestedBy: "test")
        return TestIdentity(svid, key)
    }
}
