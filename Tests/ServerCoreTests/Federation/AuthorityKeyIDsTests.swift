import Crypto
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftASN1
import Testing
import X509

/// Whose key ID it is, when several trust domains have an authority with it.
@Suite("key IDs of authorities") struct AuthorityKeyIDsTests {
    private static func bundle(_ name: String, _ authorities: [[UInt8]]) throws -> TrustBundle {
        var bundle = TrustBundle(trustDomain: try TrustDomain(name))
        bundle.x509Authorities = authorities.map { .init(der: $0) }
        return bundle
    }

    private static func checked(
        _ bundle: TrustBundle, beside stored: [TrustBundle]
    ) throws -> TrustBundle {
        let own = try TrustDomain("acme.test")
        var keyIDs = AuthorityKeyIDs(own: own)
        keyIDs.update(stored)
        return try ForeignBundle.checked(
            bundle, own: own, ownBundle: stored.first { $0.trustDomain == own }, keyIDs: keyIDs)
    }

    private static func refusal(_ bundle: TrustBundle, beside stored: [TrustBundle]) -> String? {
        do {
            _ = try Self.checked(bundle, beside: stored)
            return nil
        } catch let error as ServerError {
            return error.message
        } catch {
            return "\(error)"
        }
    }

    /// As SPIRE and most others make it: SHA-1 of the key's bits.
    private static func sha1(_ key: P256.Signing.PrivateKey) -> [UInt8] {
        Array(Insecure.SHA1.hash(data: key.publicKey.x963Representation))
    }

    /// As Go makes it since 1.25: the first 20 bytes of SHA-256 (RFC 7093).
    private static func sha256(_ key: P256.Signing.PrivateKey) -> [UInt8] {
        Array(SHA256.hash(data: key.publicKey.x963Representation).prefix(20))
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    private static let arbitrary = [UInt8](repeating: 7, count: 20)

    @Test("nobody has the key ID of an authority of ours, whatever ours is")
    func ours() throws {
        let key = P256.Signing.PrivateKey()
        for keyID in [Self.sha1(key), Self.arbitrary, [1]] as [[UInt8]] {
            let own = try Self.bundle(
                "acme.test", [try Partner.certificate([], key: key, keyID: keyID)])
            let bundle = try Self.bundle("m.test", [try Partner.certificate([], keyID: keyID)])
            let refusal = Self.refusal(bundle, beside: [own])
            #expect(refusal?.contains("acme.test") == true)
            // Not even who had it before.
            #expect(Self.refusal(bundle, beside: [own, bundle]) != nil)
        }
    }

    @Test("of two partners the one whose key ID comes from its key has it, whoever came first")
    func derived() throws {
        let key = P256.Signing.PrivateKey()
        for keyID in [Self.sha1(key), Self.sha256(key)] {
            let victim = try Self.bundle(
                "v.test", [try Partner.certificate([], key: key, keyID: keyID)])
            let hostile = try Self.bundle("m.test", [try Partner.certificate([], keyID: keyID)])
            let refusal = Self.refusal(hostile, beside: [victim])
            #expect(refusal?.contains("v.test") == true)
            #expect(refusal?.contains(Self.hex(keyID)) == true)
            #expect(Self.refusal(victim, beside: [hostile]) == nil)
            #expect(Self.refusal(hostile, beside: [hostile, victim]) != nil, "no longer")
            #expect(Self.refusal(victim, beside: [hostile, victim]) == nil)
        }
    }

    @Test("where key IDs come from nowhere the first one has it, and keeps it")
    func arbitrary() throws {
        let first = try Self.bundle("v.test", [try Partner.certificate([], keyID: Self.arbitrary)])
        let second = try Self.bundle("m.test", [try Partner.certificate([], keyID: Self.arbitrary)])
        #expect(Self.refusal(second, beside: [first]) != nil)
        #expect(Self.refusal(first, beside: [second]) != nil)
        for bundle in [first, second] {
            #expect(Self.refusal(bundle, beside: [first, second]) == nil, "stored before the rule")
        }
        // A digest of 60 bits says nothing: the method 2 of RFC 5280 §4.2.1.2.
        let key = P256.Signing.PrivateKey()
        var short = Array(Self.sha1(key).suffix(8))
        short[0] = 0x40 | short[0] & 0x0F
        let weak = try Self.bundle(
            "w.test", [try Partner.certificate([], key: key, keyID: short)])
        let copy = try Self.bundle("m.test", [try Partner.certificate([], keyID: short)])
        #expect(Self.refusal(copy, beside: [weak]) != nil)
        #expect(Self.refusal(weak, beside: [copy]) != nil)
    }

    @Test("one name, no key ID, and one root of two partners are nothing to refuse")
    func legitimate() throws {
        let key = P256.Signing.PrivateKey()
        let root = try Partner.certificate([], key: key, keyID: Self.sha1(key))
        let renewed = try Partner.certificate([], key: key, keyID: Self.sha1(key))
        #expect(root != renewed)
        let first = try Self.bundle("a.test", [root, try Partner.certificate([])])
        for other in [[root], [renewed], [root, renewed], [try Partner.certificate([])]] {
            #expect(Self.refusal(try Self.bundle("b.test", other), beside: [first]) == nil)
        }
        // But nothing is hidden beside it.
        let hidden = try Self.bundle(
            "m.test", [root, try Partner.certificate([], keyID: Self.sha1(key))])
        #expect(Self.refusal(hidden, beside: [first]) != nil)
    }

    @Test("what leaves a bundle, or goes with one, is free again")
    func update() throws {
        let own = try TrustDomain("acme.test")
        let (key, other) = (P256.Signing.PrivateKey(), P256.Signing.PrivateKey())
        let der = try Partner.certificate([], key: key, keyID: Self.sha1(key))
        let victim = try Self.bundle("v.test", [der])
        let copy = try Certificate(
            derEncoded: try Partner.certificate([], key: other, keyID: Self.sha1(key)))
        let hostile = try TrustDomain("m.test")
        var keyIDs = AuthorityKeyIDs(own: own)
        #expect(keyIDs.rival(of: copy, of: hostile) == nil)
        for next in [[], [try Self.bundle("v.test", [])]] {
            keyIDs.update([victim])
            #expect(keyIDs.rival(of: copy, of: hostile) == victim.trustDomain)
            keyIDs.update(next)
            #expect(keyIDs.rival(of: copy, of: hostile) == nil)
        }
    }

    @Test("operators' bundles are held to it, and the directory knows the bundles of now")
    func registries() async throws {
        let plane = try await TestPlane()
        let bundles = BundleRegistry(directory: plane.directory, store: plane.store)
        let federation = FederationRegistry(directory: plane.directory, store: plane.store)
        let key = P256.Signing.PrivateKey()
        let der = try Partner.certificate([], key: key, keyID: Self.sha1(key))
        let hostile = try Self.bundle(
            "m.test", [try Partner.certificate([], keyID: Self.sha1(key))])
        _ = try await bundles.set(try Self.bundle("v.test", [der]))
        let calls: [() async throws -> Void] = [
            { _ = try await bundles.set(hostile) }, { _ = try await bundles.create(hostile) },
            {
                _ = try await federation.create(
                    .init(try Partner.relationship("m.test"), bundle: hostile))
            },
        ]
        for call in calls {
            let error = await #expect(throws: ServerError.self) { try await call() }
            #expect(error?.code == .invalidArgument && error?.message.contains("v.test") == true)
        }
        #expect(plane.directory.bundle(hostile.trustDomain) == nil && federation.list().isEmpty)
        _ = try await bundles.set(try Self.bundle("m.test", []))
        await #expect(throws: ServerError.self) {
            _ = try await bundles.update(hostile, parts: .x509)
        }
        try await bundles.delete(try TrustDomain("v.test"), mode: .restrict)
        _ = try await bundles.set(hostile)
    }
}
