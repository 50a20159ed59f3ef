import ControlPlaneProto
import Crypto
import Foundation
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftASN1
import SwiftProtobuf
import Testing
import Transparency
import X509

private typealias SVIDs = Spire_Api_Server_Svid_V1_SVID

@Suite(.timeLimit(.minutes(2))) struct SVIDServiceTests {
    @Test func `an agent gets SVIDs of its own entries only, and cannot tell others' from none`()
        async throws
    {
        try await TestServer.with { server in
            let one = try await server.attest("one")
            let two = try await server.attest("two")
            var own = try Entry.test("own", "/own", parent: one.id.path)
            own.dnsNames = ["own.example"]
            own.x509SVIDTTL = 60
            _ = try await server.plane.store.createEntries([
                own, .test("below", "/below", parent: "/own"),
                .test("foreign", "/f", parent: two.id.path),
                .test("alias", "/pool", parent: "/spire/server", ["spiffe_id:\(two.id)"]),
                .test("pooled", "/p", parent: "/pool"),
            ])
            let csr = try TestRequest.der(names: [
                .uniformResourceIdentifier("spiffe://acme.test/boss")
            ])
            let params: [(String, Data)] = [
                ("own", csr), ("below", csr), ("foreign", csr), ("pooled", csr), ("alias", csr),
                ("none", csr), ("", csr), ("own", Data()), ("own", Data([1])),
            ]
            let response = try await server.tls(one) { client in
                try await SVIDs.Client(wrapping: client).batchNewX509SVID(
                    .with {
                        $0.params = params.map { id, csr in
                            .with {
                                $0.entryID = id
                                $0.csr = csr
                            }
                        }
                    })
            }
            #expect(response.results.map(\.status.code) == [0, 0, 5, 5, 5, 5, 3, 3, 3])
            #expect(Set(response.results[2...5].map(\.status.message)).count == 1)
            #expect(
                response.results.map(\.hasSvid) == [true, true] + [Bool](repeating: false, count: 7)
            )
            let svid = response.results[0].svid
            #expect(svid.id.path == "/own", "what the request says about the ID does not count")
            #expect(svid.expiresAt == server.plane.clock.unixTime + 60)
            let leaf = try Certificate(derEncoded: [UInt8](svid.certChain[0]))
            #expect(
                try leaf.extensions.subjectAlternativeNames.map(Array.init)
                    == [
                        .uniformResourceIdentifier("spiffe://acme.test/own"),
                        .dnsName("own.example"),
                    ])
            let pooled = try await server.tls(two) { client in
                try await SVIDs.Client(wrapping: client).batchNewX509SVID(
                    .with {
                        $0.params = [
                            .with {
                                $0.entryID = "pooled"
                                $0.csr = csr
                            }
                        ]
                    })
            }
            #expect(pooled.results.map(\.status.code) == [0])
            let entries = server.plane.recorder.issued.compactMap(\.entryID)
            #expect(entries == ["own", "below", "pooled"])
        }
    }

    @Test func `a batch of nothing is refused`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            try await server.tls(agent) { client in
                let error = await #expect(throws: RPCError.self) {
                    try await SVIDs.Client(wrapping: client).batchNewX509SVID(.init())
                }
                #expect(error?.code == .invalidArgument)
            }
        }
    }

    @Test func `a JWT-SVID is for an authorised entry and an audience`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            var entry = try Entry.test("own", "/own", parent: agent.id.path)
            entry.jwtSVIDIncludeJTI = true
            entry.jwtSVIDTTL = 30
            _ = try await server.plane.store.createEntries([entry])
            try await server.tls(agent) { client in
                let svids = SVIDs.Client(wrapping: client)
                let answer = try await svids.newJWTSVID(
                    .with {
                        $0.entryID = "own"
                        $0.audience = ["a", ""]
                    })
                let token = try JWTSVID.unverified(answer.svid.token)
                #expect(token.id.path == "/own" && token.audience == ["a"])
                #expect(token.claims["jti"] != nil)
                #expect(answer.svid.expiresAt == answer.svid.issuedAt + 30)
                for (id, audience, code) in [
                    ("none", ["a"], RPCError.Code.notFound), ("", ["a"], .invalidArgument),
                    ("own", [], .invalidArgument), ("own", [""], .invalidArgument),
                    ("own", [String](repeating: "a", count: 65), .invalidArgument),
                    ("own", [String(repeating: "a", count: 2_049)], .invalidArgument),
                ] {
                    let error = await #expect(throws: RPCError.self) {
                        try await svids.newJWTSVID(
                            .with {
                                $0.entryID = id
                                $0.audience = audience
                            })
                    }
                    #expect(error?.code == code)
                }
            }
        }
    }

    @Test func `minting takes ID, names and subject from the request`() async throws {
        try await TestServer.with { server in
            let names: [GeneralName] = [
                .uniformResourceIdentifier("spiffe://acme.test/minted"), .dnsName("m.example"),
            ]
            let csr = try TestRequest.der(names: names, commonName: "mine")
            let svid = try await server.local { client in
                try await SVIDs.Client(wrapping: client).mintX509SVID(
                    .with {
                        $0.csr = csr
                        $0.ttl = 120
                    }
                ).svid
            }
            #expect(svid.id.path == "/minted")
            #expect(svid.expiresAt == server.plane.clock.unixTime + 120)
            let leaf = try Certificate(derEncoded: [UInt8](svid.certChain[0]))
            #expect(try leaf.extensions.subjectAlternativeNames.map(Array.init) == names)
            #expect(String(describing: leaf.subject).contains("m.example"))
            #expect(server.plane.recorder.issued.last?.caller == "uid:\(getuid())")
        }
    }

    @Test func `ID-02 and X509-05: minting refuses requests with other names`() async throws {
        try await TestServer.with { server in
            let good = GeneralName.uniformResourceIdentifier("spiffe://acme.test/w")
            let cases: [[GeneralName]] = [
                [], [.dnsName("a.example")], [good, good],
                [.uniformResourceIdentifier("spiffe://evil.test/w")],
                [.uniformResourceIdentifier("spiffe://acme.test")],
                [.uniformResourceIdentifier("spiffe://acme.test/spire/server")],
                [.uniformResourceIdentifier("https://acme.test/w")],
                [.uniformResourceIdentifier("SPIFFE://acme.test/w")],
                [.uniformResourceIdentifier("spiffe://Acme.test/w")],
                [good, .uniformResourceIdentifier("https://acme.test/w")],
                [good, .dnsName("-a")], [good, .dnsName("*.a"), .dnsName("b.a")],
            ]
            try await server.local { client in
                let svids = SVIDs.Client(wrapping: client)
                for names in cases {
                    let csr = try TestRequest.der(names: names)
                    let error = await #expect(throws: RPCError.self, "\(names)") {
                        try await svids.mintX509SVID(.with { $0.csr = csr })
                    }
                    #expect(error?.code == .invalidArgument)
                }
                let csr = try TestRequest.der(names: [good])
                let negative = await #expect(throws: RPCError.self) {
                    try await svids.mintX509SVID(
                        .with {
                            $0.csr = csr
                            $0.ttl = -1
                        })
                }
                #expect(negative?.code == .invalidArgument)
                let wit = await #expect(throws: RPCError.self) {
                    try await svids.mintWITSVID(.init())
                }
                #expect(wit?.code == .unimplemented)
            }
        }
    }

    @Test func `without a record nothing is answered but unavailable`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            _ = try await server.plane.store.createEntries([
                .test("own", "/own", parent: agent.id.path)
            ])
            server.plane.recorder.fail(ServerError(.unavailable, "issuance refused: disk is full"))
            let csr = try TestRequest.der()
            try await server.tls(agent) { client in
                let svids = SVIDs.Client(wrapping: client)
                let x509 = await #expect(throws: RPCError.self) {
                    try await svids.batchNewX509SVID(
                        .with {
                            $0.params = [
                                .with {
                                    $0.entryID = "own"
                                    $0.csr = csr
                                }
                            ]
                        })
                }
                #expect(x509?.code == .unavailable)
                let jwt = await #expect(throws: RPCError.self) {
                    try await svids.newJWTSVID(
                        .with {
                            $0.entryID = "own"
                            $0.audience = ["a"]
                        })
                }
                #expect(jwt?.code == .unavailable)
            }
        }
    }

    @Test(
        "with the ID that signs invites operators mint signatures of invites, and nothing else",
        arguments: [
            ("/cygnet/federation/invite", ["cygnet-federation-invite:ab"], true),
            ("/cygnet/federation/invite", ["other"], false),
            ("/cygnet/federation/invite", ["cygnet-federation-invite:ab", "other"], false),
            ("/cygnet/federation", ["cygnet-federation-invite:ab"], false),
            ("/spire/server", ["cygnet-federation-invite:ab"], false),
            ("/spire/server", ["other"], false),
        ] as [(String, [String], Bool)])
    func invites(_ path: String, _ audience: [String], _ isMinted: Bool) async throws {
        try await TestServer.with { server in
            try await server.local { client in
                let request = Spire_Api_Server_Svid_V1_MintJWTSVIDRequest.with {
                    $0.id = Spire_Api_Types_SPIFFEID(path)
                    $0.audience = audience
                }
                var code: RPCError.Code?
                do {
                    _ = try await SVIDs.Client(wrapping: client).mintJWTSVID(request)
                } catch let error as RPCError {
                    code = error.code
                }
                #expect(code == (isMinted ? nil : .invalidArgument))
            }
        }
    }
}
