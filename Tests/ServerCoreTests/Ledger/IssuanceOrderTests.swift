import Crypto
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency
import X509

private let testKey = P256.Signing.PrivateKey().publicKey

/// What is asked, signed, recorded and released, in which order.
@Suite struct IssuanceOrderTests {
    private static let revoked = ServerError(
        .failedPrecondition, "revocation r1 covers it: stolen", revocationID: "r1")

    private static func plane(_ admission: ScriptedAdmission) async throws -> TestPlane {
        try await TestPlane(
            authority: .init(issuesWITSVIDs: true), admission: admission)
    }

    /// Issues one SVID of that kind for the workload `/w` of entry `e`.
    private static func issue(
        _ type: LeafSVIDType, _ plane: TestPlane, jti: Bool = true
    ) async throws -> String {
        var entry = try Entry.test("e", "/w", parent: "/p", ["unix:uid:1", "docker:label:a"])
        entry.revision = 7
        let agent = try plane.id("/spire/agent/x/a")
        let origin = IssuanceOrigin.entry(EntryOrigin(entry, agent: agent))
        switch type {
        case .x509:
            return try await plane.issuer.issue(
                X509Issuance(
                    spiffeID: entry.spiffeID, publicKey: Certificate.PublicKey(testKey),
                    origin: origin), requestedBy: agent.string
            ).serial
        case .jwt:
            return try await plane.issuer.issue(
                JWTIssuance(
                    spiffeID: entry.spiffeID, audience: ["a"], includesJTI: jti, origin: origin),
                requestedBy: agent.string
            ).token
        case .wit:
            let key = try ConfirmationKey(
                publicKeyDER: [UInt8](testKey.derRepresentation), algorithm: "ES256")
            return try await plane.issuer.issue(
                WITIssuance(spiffeID: entry.spiffeID, confirmationKey: key, origin: origin),
                requestedBy: agent.string
            ).token
        }
    }

    private static func claims(_ token: String) throws -> [String: JSONValue] {
        let parts = token.split(separator: ".")
        return try #require(
            try JSONValue(parsing: Base64URL.decode(String(parts[1]))).objectValue)
    }

    @Test(arguments: LeafSVIDType.allCases)
    func `asked, recorded, asked again with the leaf, released`(type: LeafSVIDType) async throws {
        let admission = ScriptedAdmission()
        let plane = try await Self.plane(admission)
        let recorder = plane.recorder
        admission.onBegin { (_) throws(ServerError) in
            #expect(recorder.issued.isEmpty)
            return nil
        }
        admission.onAdmit { (svid) throws(ServerError) in
            #expect(recorder.issued == [svid.leaf])
        }
        _ = try await Self.issue(type, plane)
        let subject = try #require(admission.begun.first)
        #expect(subject.svidType == type && subject.spiffeID.path == "/w")
        #expect(subject.entryID == "e" && subject.node?.path == "/spire/agent/x/a")
        #expect(subject.selectors.map(\.description) == ["docker:label:a", "unix:uid:1"])
        #expect(admission.admitted.map(\.subject) == [subject])
        #expect(admission.admitted.map(\.leaf.authorityID) == [subject.authorityID])
        #expect(recorder.refused.isEmpty)
    }

    @Test(arguments: LeafSVIDType.allCases)
    func `what may not be issued is not signed, and the refusal names the revocation`(
        type: LeafSVIDType
    ) async throws {
        let admission = ScriptedAdmission()
        let plane = try await Self.plane(admission)
        admission.onBegin { (_) throws(ServerError) in throw Self.revoked }
        await #expect(throws: Self.revoked) { try await Self.issue(type, plane) }
        #expect(plane.recorder.issued.isEmpty && admission.admitted.isEmpty)
        let leaf = try #require(plane.recorder.refused.first)
        #expect(leaf.reason == "revoked" && leaf.revocationID == "r1" && leaf.svidType == type)
        #expect(leaf.spiffeID?.path == "/w" && leaf.entryID == "e")
        #expect(leaf.node?.path == "/spire/agent/x/a" && leaf.caller == leaf.node?.string)
        #expect(plane.recorder.enqueued.count == 1, "nobody waits for a refusal")
    }

    @Test(arguments: LeafSVIDType.allCases)
    func `what was revoked after the record is not released`(type: LeafSVIDType) async throws {
        let admission = ScriptedAdmission()
        let plane = try await Self.plane(admission)
        admission.onAdmit { (_) throws(ServerError) in throw Self.revoked }
        await #expect(throws: Self.revoked) { try await Self.issue(type, plane) }
        #expect(plane.recorder.issued.count == 1 && plane.recorder.refused.count == 1)
    }

    @Test(arguments: LeafSVIDType.allCases, [false, true])
    func `without a leaf nothing is admitted, let alone released`(
        type: LeafSVIDType, isStored: Bool
    ) async throws {
        let admission = ScriptedAdmission()
        let plane = try await Self.plane(admission)
        let full = ServerError(.unavailable, "disk is full")
        plane.recorder.fail(full, isStored: isStored)
        await #expect(throws: full) { try await Self.issue(type, plane) }
        #expect(admission.admitted.isEmpty)
        #expect(plane.recorder.issued.count == (isStored ? 1 : 0))
    }

    @Test func `of a batch only what is revoked stays behind`() async throws {
        let admission = ScriptedAdmission()
        let plane = try await Self.plane(admission)
        admission.onBegin { (subject) throws(ServerError) in
            if subject.spiffeID.path == "/b" { throw Self.revoked }
            return nil
        }
        admission.onAdmit { (svid) throws(ServerError) in
            if svid.leaf.spiffeID.path == "/c" { throw Self.revoked }
        }
        let appends = plane.recorder.appends
        let results = try await plane.issuer.issue(
            try ["/a", "/b", "/c", "/d"].map { path in
                X509Issuance(
                    spiffeID: try plane.id(path), publicKey: Certificate.PublicKey(testKey),
                    origin: .mint)
            }, requestedBy: "uid:1")
        #expect(results.map { (try? $0.get())?.spiffeID.path } == ["/a", nil, nil, "/d"])
        #expect(plane.recorder.issued.map(\.spiffeID.path) == ["/a", "/c", "/d"])
        #expect(plane.recorder.refused.map { $0.spiffeID?.path } == ["/b", "/c"])
        #expect(plane.recorder.appends == appends + 1)
    }

    @Test func `the leaf of an X509-SVID has all that is known of it`() async throws {
        let plane = try await Self.plane(ScriptedAdmission())
        let serial = try await Self.issue(.x509, plane)
        let leaf = try #require(plane.recorder.issued.first)
        #expect(leaf.serial == serial && leaf.jti == nil)
        #expect(leaf.keyThumbprint == Array(SHA256.hash(data: testKey.derRepresentation)))
        #expect(leaf.entryID == "e" && leaf.entryRevision == 7)
        #expect(leaf.selectorsDigest == LeafDigestTests.twoSelectors)
        #expect(leaf.statusIndex == nil && leaf.signingInputDigest == nil)
    }

    @Test(arguments: [LeafSVIDType.jwt, .wit])
    func `a token has its place in the status list, and the leaf too`(type: LeafSVIDType)
        async throws
    {
        let admission = ScriptedAdmission()
        let plane = try await Self.plane(admission)
        let uri = "https://acme.test/statuslist?\"1\""
        admission.onBegin { (_) throws(ServerError) in StatusReference(uri: uri, index: 41) }
        let token = try await Self.issue(type, plane)
        #expect(
            try Self.claims(token)["status"] == ["status_list": ["idx": 41, "uri": .string(uri)]])
        let leaf = try #require(plane.recorder.issued.first)
        #expect(leaf.statusIndex == 41)
        #expect(leaf.svidDigest == Array(SHA256.hash(data: Array(token.utf8))))
        let input = token.split(separator: ".").prefix(2).joined(separator: ".")
        #expect(leaf.signingInputDigest == Array(SHA256.hash(data: Array(input.utf8))))
        #expect(admission.admitted.first?.signingInputDigest == leaf.signingInputDigest)
        #expect(admission.admitted.first?.status == StatusReference(uri: uri, index: 41))
        #expect((leaf.keyThumbprint == nil) == (type == .jwt))
        #expect((leaf.jti == nil) == (type == .wit))
    }

    @Test(arguments: [LeafSVIDType.jwt, .wit])
    func `without a status list tokens have no such claim`(type: LeafSVIDType) async throws {
        let plane = try await Self.plane(ScriptedAdmission())
        let token = try await Self.issue(type, plane)
        #expect(try Self.claims(token)["status"] == nil)
        #expect(plane.recorder.issued.first?.statusIndex == nil)
    }

    @Test func `an entry ID of a request is recorded cut to what a real one may be`() async throws {
        let plane = try await Self.plane(ScriptedAdmission())
        plane.issuer.refuse(
            ServerError(.notFound, "no"), .x509, entryID: String(repeating: "é", count: 100_000),
            caller: "x")
        let leaf = try #require(plane.recorder.refused.first)
        #expect(leaf.entryID?.unicodeScalars.count == 255 && leaf.reason == "unauthorized")
        #expect(
            try Leaf(time: LeafTime(seconds: 0), event: .svidRefused(leaf)).encode().count < 1_000)
    }

    @Test func `each refusal has its class`() {
        for (error, reason) in [
            (ServerError(.permissionDenied, ""), "unauthorized"),
            (.init(.notFound, ""), "unauthorized"),
            (.init(.unauthenticated, ""), "unauthorized"),
            (.init(.permissionDenied, "", agentReason: .banned), "banned"),
            (.init(.permissionDenied, "", agentReason: .expired), "unauthorized"),
            (.init(.resourceExhausted, ""), "rate_limited"),
            (.init(.invalidArgument, ""), "invalid_request"),
            (.init(.failedPrecondition, ""), "policy"),
            (.init(.failedPrecondition, "", revocationID: "r"), "revoked"),
            (.init(.unimplemented, ""), "not_enabled"), (.init(.unavailable, ""), "unavailable"),
            (.init(.internal, ""), "internal"),
        ] as [(ServerError, String)] {
            #expect(error.refusalReason == reason, "\(error.code)")
        }
    }
}
