import ControlPlaneProto
import Foundation
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftProtobuf
import Testing
import Transparency

private typealias SVIDs = Spire_Api_Server_Svid_V1_SVID

@Suite(.timeLimit(.minutes(2))) struct WITServiceTests {
    private static let enabled = AuthorityManager.Settings(issuesWITSVIDs: true)

    private static func bundle(_ message: Spire_Api_Types_Bundle) throws -> WITBundle {
        WITBundle(
            trustDomain: try TrustDomain(message.trustDomain),
            authorities: Dictionary(
                uniqueKeysWithValues: try message.witAuthorities.map {
                    ($0.keyID, try JWTVerificationKey(publicKeyDER: [UInt8]($0.publicKey)))
                }))
    }

    @Test func `an agent gets WIT-SVIDs of its own entries only`() async throws {
        try await TestServer.with(authority: Self.enabled) { server in
            let one = try await server.attest("one")
            let two = try await server.attest("two")
            _ = try await server.plane.store.createEntries([
                .test("own", "/own", parent: one.id.path),
                .test("foreign", "/f", parent: two.id.path),
            ])
            let key = try ProofKey(generatingFor: .es256).confirmationKey
            let der = Data(key.publicKey.publicKeyDER)
            let params: [(String, Data, String)] = [
                ("own", der, "ES256"), ("foreign", der, "ES256"), ("none", der, "ES256"),
                ("", der, "ES256"), ("own", Data(), "ES256"), ("own", Data([1]), "ES256"),
                ("own", der, ""), ("own", der, "RS256"), ("own", der, "ES256"),
            ]
            try await server.tls(one) { client in
                let response = try await SVIDs.Client(wrapping: client).batchNewWITSVID(
                    .with {
                        $0.params = params.map { id, der, algorithm in
                            .with {
                                $0.entryID = id
                                $0.publicKey = der
                                $0.signingAlgorithm = algorithm
                            }
                        }
                    })
                #expect(response.results.map(\.status.code) == [0, 5, 5, 3, 3, 3, 3, 3, 0])
                #expect(
                    response.results.map(\.hasSvid)
                        == [true] + [Bool](repeating: false, count: 7) + [true])
                #expect(
                    response.results[1].status.message == response.results[2].status.message)
                let published = try await Spire_Api_Server_Bundle_V1_Bundle.Client(
                    wrapping: client
                ).getBundle(.init())
                let svid = response.results[0].svid
                let unproven = try UnprovenWITSVID(
                    validating: svid.token, bundles: try Self.bundle(published))
                #expect(unproven.claimedID.path == "/own" && svid.id.path == "/own")
                #expect(unproven.confirmationKey == key)
                #expect(svid.expiresAt == svid.issuedAt + 3_600)
                let masked = try await Spire_Api_Server_Bundle_V1_Bundle.Client(wrapping: client)
                    .getBundle(.with { $0.outputMask.jwtAuthorities = true })
                #expect(masked.witAuthorities.isEmpty && !masked.jwtAuthorities.isEmpty)
                let empty = await #expect(throws: RPCError.self) {
                    try await SVIDs.Client(wrapping: client).batchNewWITSVID(.init())
                }
                #expect(empty?.code == .invalidArgument)
                let mint = await #expect(throws: RPCError.self) {
                    try await SVIDs.Client(wrapping: client).mintWITSVID(.init())
                }
                #expect(mint?.code == .permissionDenied)
            }
            #expect(
                server.plane.recorder.issued.filter { $0.svidType == .wit }.map(\.entryID)
                    == ["own", "own"])
        }
    }

    @Test func `operators mint WIT-SVIDs for workload IDs of the trust domain`() async throws {
        try await TestServer.with(authority: Self.enabled) { server in
            let key = try ProofKey(generatingFor: .ps256)
            let good = Spire_Api_Server_Svid_V1_MintWITSVIDRequest.with {
                $0.id = .init("/minted")
                $0.publicKey = Data(key.confirmationKey.publicKey.publicKeyDER)
                $0.signingAlgorithm = "PS256"
                $0.ttl = 120
            }
            try await server.local { client in
                let svids = SVIDs.Client(wrapping: client)
                let svid = try await svids.mintWITSVID(good).svid
                #expect(svid.id.path == "/minted" && svid.expiresAt == svid.issuedAt + 120)
                let own = try WITSVID(token: svid.token, proofKey: key)
                #expect(own.id.string == "spiffe://acme.test/minted")
                let changes: [(inout Spire_Api_Server_Svid_V1_MintWITSVIDRequest) -> Void] = [
                    { $0.clearID() }, { $0.id = .init("/x", in: "evil.test") },
                    { $0.id = .init("") }, { $0.id = .init("/spire/server") },
                    { $0.id = .init("/a//b") }, { $0.ttl = -1 }, { $0.publicKey = Data() },
                    { $0.publicKey.append(0) }, { $0.signingAlgorithm = "" },
                    { $0.signingAlgorithm = "ES256" }, { $0.signingAlgorithm = "EdDSA" },
                ]
                for (index, change) in changes.enumerated() {
                    var request = good
                    change(&request)
                    let bad = request
                    let error = await #expect(throws: RPCError.self, "\(index)") {
                        try await svids.mintWITSVID(bad)
                    }
                    #expect(error?.code == .invalidArgument, "\(index)")
                }
                let agents = await #expect(throws: RPCError.self) {
                    try await svids.batchNewWITSVID(.init())
                }
                #expect(agents?.code == .permissionDenied)
            }
        }
    }

    @Test func `STB-01: without the switch both methods are unimplemented`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            try await server.tls(agent) { client in
                let error = await #expect(throws: RPCError.self) {
                    try await SVIDs.Client(wrapping: client).batchNewWITSVID(.init())
                }
                #expect(error?.code == .unimplemented)
                let bundle = try await Spire_Api_Server_Bundle_V1_Bundle.Client(wrapping: client)
                    .getBundle(.init())
                #expect(bundle.witAuthorities.isEmpty)
            }
        }
    }
}
