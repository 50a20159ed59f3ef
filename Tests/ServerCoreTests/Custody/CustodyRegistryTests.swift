import Crypto
import Foundation
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency
import X509

@Suite("Custody: what workloads state")
struct CustodyRegistryTests {
    private let plane: TestPlane
    private let registry: CustodyRegistry
    private let agent: SPIFFEID

    init() async throws {
        let plane = try await TestPlane()
        self.plane = plane
        self.agent = try plane.id("/spire/agent/test/1")
        self.registry = CustodyRegistry(
            directory: plane.directory, bundles: DirectoryBundleSource(directory: plane.directory),
            recorder: plane.recorder,
            revocation: { plane.revocations.revocation(ofSerial: $0) }, now: plane.clock.now)
        _ = try await plane.store.createEntries([
            .test("a", "/a", parent: self.agent.path), .test("b", "/b", parent: self.agent.path),
            .test("c", "/c", parent: "/spire/agent/test/2"),
        ])
    }

    private func svid(_ path: String) async throws -> X509SVID {
        let key = P256.Signing.PrivateKey()
        let issued = try await self.plane.issuer.issue(
            X509Issuance(
                spiffeID: try self.plane.id(path), publicKey: Certificate.PublicKey(key.publicKey),
                origin: .mint), requestedBy: "test")
        return try X509SVID(
            certificates: issued.chain, privateKeyPKCS8DER: [UInt8](key.derRepresentation))
    }

    private func statement(
        by svid: X509SVID, peer: SPIFFEID? = nil
    ) throws -> SignedCustodyStatement {
        try CustodyStatement(
            action: "close-valve", transaction: "t-1", peer: peer, time: self.plane.clock.now()
        ).signed(by: svid)
    }

    private func code(
        _ statement: String, _ receipt: String = "", agent: SPIFFEID? = nil
    ) async -> ServerError.Code? {
        do throws(ServerError) {
            try await self.registry.record(
                statement: statement, receipt: receipt, agent: agent ?? self.agent)
            return nil
        } catch {
            return error.code
        }
    }

    private var leaves: [CustodyLeaf] {
        self.plane.recorder.events.compactMap {
            if case .custodyRecorded(let leaf) = $0 { leaf } else { nil }
        }
    }

    @Test("A statement and its receipt become a leaf, each time that they are handed in")
    func recorded() async throws {
        let a = try await self.svid("/a")
        let b = try await self.svid("/b")
        let signed = try self.statement(by: a, peer: b.id)
        let receipt = try CustodyReceipt(for: signed, signedBy: b, time: self.plane.clock.now())
        #expect(await self.code(signed.token, receipt.token) == nil)
        let leaf = try #require(self.leaves.first)
        #expect(leaf.transaction == "t-1" && leaf.spiffeID == a.id && leaf.action == "close-valve")
        #expect(
            leaf.peer == b.id && leaf.node == self.agent && leaf.statementDigest == signed.digest)
        #expect(leaf.statement == signed.token && leaf.receipt == receipt.token)
        // The serial number leads to the leaf of the certificate.
        #expect(self.plane.recorder.issued.first?.serial == leaf.serial)
        #expect(try leaf.verified().statement == signed)
        #expect(await self.code(signed.token) == nil)
        #expect(self.leaves.count == 2 && self.leaves.last?.receipt == nil)
    }

    @Test("Only for the agent that is authorised, and only what holds")
    func refused() async throws {
        let a = try await self.svid("/a")
        let b = try await self.svid("/b")
        let signed = try self.statement(by: a, peer: b.id)
        #expect(
            await self.code(signed.token, agent: try self.plane.id("/spire/agent/test/2"))
                == .permissionDenied)
        let elsewhere = try self.statement(by: try await self.svid("/c"))
        #expect(await self.code(elsewhere.token) == .permissionDenied)
        let unregistered = try self.statement(by: try await self.svid("/nobody"))
        #expect(await self.code(unregistered.token) == .permissionDenied)
        #expect(await self.code("a.b.c") == .invalidArgument)
        // A receipt for another statement, and one that is none.
        let other = try CustodyStatement(
            action: "open-valve", transaction: "t-1", peer: b.id, time: self.plane.clock.now()
        ).signed(by: a)
        let wrong = try CustodyReceipt(for: other, signedBy: b, time: self.plane.clock.now())
        #expect(await self.code(signed.token, wrong.token) == .invalidArgument)
        #expect(await self.code(signed.token, "x") == .invalidArgument)
        // Signed by an authority of the same name that is not ours.
        let forged = try await TestPlane()
        let key = P256.Signing.PrivateKey()
        let issued = try await forged.issuer.issue(
            X509Issuance(
                spiffeID: a.id, publicKey: Certificate.PublicKey(key.publicKey), origin: .mint),
            requestedBy: "test")
        let stranger = try X509SVID(
            certificates: issued.chain, privateKeyPKCS8DER: [UInt8](key.derRepresentation))
        #expect(await self.code(try self.statement(by: stranger).token) == .invalidArgument)
        // Expired.
        self.plane.clock.advance(by: 7_200)
        #expect(await self.code(signed.token) == .invalidArgument)
        #expect(self.leaves.isEmpty)
    }

    @Test("A stolen key records nothing once it was taken back, its successor does")
    func revoked() async throws {
        let stolen = try await self.svid("/a")
        var draft = RevocationRegistry.Draft(try Sample.target(.spiffeID, stolen.id.string))
        draft.isReplacement = true
        draft.reason = "stolen"
        _ = try await self.plane.revocations.create(draft, caller: "uid:0")
        #expect(await self.code(try self.statement(by: stolen).token) == .failedPrecondition)
        let fresh = try await self.svid("/a")
        #expect(await self.code(try self.statement(by: fresh).token) == nil)
        // Taken back for good.
        draft.isReplacement = false
        _ = try await self.plane.revocations.create(draft, caller: "uid:0")
        #expect(await self.code(try self.statement(by: fresh).token) == .failedPrecondition)
        #expect(self.leaves.count == 1)
    }

    @Test("What cannot be made durable is not acknowledged")
    func ledgerAway() async throws {
        let a = try await self.svid("/a")
        self.plane.recorder.fail(ServerError(.unavailable, "disk full"))
        #expect(await self.code(try self.statement(by: a).token) == .unavailable)
        self.plane.recorder.fail(nil)
        #expect(await self.code(try self.statement(by: a).token) == nil)
    }
}
