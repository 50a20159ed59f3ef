import Crypto
import PluginAPI
import Plugins
import SPIFFE
import ServerCore
import Testing
import Transparency

@Suite("The ledger's key")
struct LedgerKeyTests {
    @Test("it is made once, kept by the key manager, and signs checkpoints of the trust domain")
    func kept() async throws {
        try await TemporaryFolder.with { folder in
            let domain = try TrustDomain("acme.test")
            var keys: Set<VerifierKey> = []
            for _ in 0..<3 {
                let manager = try DiskKeyManager(path: folder.file("keys.json"))
                let signer = try await LedgerKey.signer(trustDomain: domain, keyManager: manager)
                keys.insert(signer.key)
                let managed = try #require(try await manager.key(id: "ledger"))
                #expect(managed.type == .ed25519)
                let first = try LedgerWriter.firstCheckpoint(origin: signer.key.name.text)
                let signed = try SignedCheckpoint(first, signer: signer)
                #expect(
                    try SignedCheckpoint(parsing: signed.note.bytes, signedBy: signer.key) == signed
                )
                // Independently of our own verifier.
                let key = try Curve25519.Signing.PublicKey(
                    rawRepresentation: managed.publicKeyDER.suffix(32))
                #expect(
                    key.isValidSignature(
                        try #require(signed.note.signatures.first).signature, for: first.text))
            }
            #expect(keys.count == 1)
            #expect(keys.first?.name.string == "acme.test/ledger")
        }
    }

    @Test("a key of another type in its place is refused")
    func otherType() async throws {
        let manager = MemoryKeyManager()
        let other = try await manager.generateKey(id: "ledger", type: .ecP256)
        #expect(other.ed25519PublicKey == nil)
        let error = await #expect(throws: ServerError.self) {
            try await LedgerKey.signer(
                trustDomain: TrustDomain("acme.test"), keyManager: manager)
        }
        #expect(error?.code == .failedPrecondition)
        #expect(error?.message.contains("ed25519") == true)
    }
}
