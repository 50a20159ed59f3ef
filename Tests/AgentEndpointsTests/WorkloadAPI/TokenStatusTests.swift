import AgentCore
import Crypto
import Foundation
import GRPCCore
import SPIFFE
import SwiftProtobuf
import Testing
import WorkloadAPIProto
import X509

@testable import AgentEndpoints

private let security: Metadata = ["workload.spiffe.io": "true"]

/// Tokens with a place in a status list, of our own trust domain and of a partner.
@Suite("ValidateJWTSVID and status lists", .timeLimit(.minutes(1))) struct TokenStatusTests {
    private static let uri = "https://lists.test/statuslist"
    /// 64 places of two bits: 3 is invalid, 5 is suspended. Packed by Python's zlib.
    private static let places = "eNpz4GBAAQAEiABJ"

    private let agent: TestAgent
    private let partner: TrustDomain
    private let partnerKey = P256.Signing.PrivateKey()

    init() throws {
        self.agent = try TestAgent()
        self.partner = try TrustDomain("partner.test")
        self.agent.synchronise(
            [try TestAgent.entry("a", federatesWith: ["partner.test"])],
            [
                AgentBundle(
                    trustDomain: self.partner, x509Authorities: [.init(der: self.agent.rootDER)],
                    jwtAuthorities: [
                        AgentBundle.JWTAuthority(
                            keyID: "p1",
                            publicKeyDER: Array(self.partnerKey.publicKey.derRepresentation))
                    ])
            ])
    }

    private func signer(_ trustDomain: TrustDomain, type: String) throws -> JWSSigner {
        trustDomain == self.partner
            ? try JWSSigner(privateKey: .init(self.partnerKey), keyID: "p1", type: type)
            : try JWSSigner(privateKey: .init(self.agent.jwtKey), keyID: "k1", type: type)
    }

    private func token(_ trustDomain: TrustDomain, place: Int64?, uri: String = uri) throws
        -> String
    {
        let now = Int64(Date().timeIntervalSince1970)
        var claims: [String: JSONValue] = [
            "sub": .string("spiffe://\(trustDomain)/x"), "aud": "me", "exp": .int(now + 300),
        ]
        if let place {
            claims["status"] = ["status_list": ["idx": .int(place), "uri": .string(uri)]]
        }
        return try self.signer(trustDomain, type: "JWT").sign(
            claims: JSONValue.object(claims).serialized())
    }

    /// - Parameter age: how long ago it ended, in seconds; less than zero for one that is good.
    private func list(
        signedBy trustDomain: TrustDomain, age: Int64 = -300, lst: String = places
    ) throws -> String {
        let now = Int64(Date().timeIntervalSince1970)
        let claims: JSONValue = [
            "sub": .string(Self.uri), "iat": .int(now - age - 600), "exp": .int(now - age),
            "status_list": ["bits": 2, "lst": .string(lst)],
        ]
        return try self.signer(trustDomain, type: "statuslist+jwt").sign(
            claims: claims.serialized())
    }

    private func tell(_ trustDomain: TrustDomain, _ lists: [String: String]) {
        self.agent.identities.receive(
            .revocations(
                RevocationChange(upserted: [
                    DomainRevocations(trustDomain: trustDomain, statusLists: lists)
                ])))
    }

    /// Why a token is refused; nil when it is accepted.
    private func refusal(_ token: String, _ client: TestAgent.Client) async throws -> String? {
        do {
            _ = try await client.validateJWTSVID(
                .with {
                    $0.svid = token
                    $0.audience = "me"
                }, metadata: security)
            return nil
        } catch let error as RPCError {
            #expect(error.code == .invalidArgument)
            return error.message
        }
    }

    @Test("a token that its list takes back or suspends is refused, of ours and of a partner's")
    func taken() async throws {
        let domains = [self.agent.trustDomain, self.partner]
        let tokens = try domains.map { trustDomain in
            try [3, 5, 4, nil].map { try self.token(trustDomain, place: $0) }
        }
        try await self.agent.run { client, _ in
            // Nothing is known: nothing is refused.
            for token in tokens.joined() { #expect(try await self.refusal(token, client) == nil) }
            for trustDomain in domains {
                self.tell(trustDomain, [Self.uri: try self.list(signedBy: trustDomain)])
            }
            for tokens in tokens {
                let invalid = try await self.refusal(tokens[0], client)
                #expect(invalid?.contains("invalid") == true)
                let suspended = try await self.refusal(tokens[1], client)
                #expect(suspended?.contains("suspended") == true)
                #expect(try await self.refusal(tokens[2], client) == nil)
                #expect(try await self.refusal(tokens[3], client) == nil)
            }
            // Lifted: all places are 0. Packed by Python's zlib.
            for trustDomain in domains {
                self.tell(
                    trustDomain,
                    [Self.uri: try self.list(signedBy: trustDomain, lst: "eNpjYEAFAAAQAAE")])
            }
            for token in tokens.joined() { #expect(try await self.refusal(token, client) == nil) }
        }
    }

    @Test(
        "one trust domain's list says nothing about another's tokens, and a forged one nothing at all"
    )
    func apart() async throws {
        let token = try self.token(self.partner, place: 3)
        try await self.agent.run { client, _ in
            self.tell(
                self.agent.trustDomain, [Self.uri: try self.list(signedBy: self.agent.trustDomain)])
            #expect(try await self.refusal(token, client) == nil)
            self.tell(self.partner, [Self.uri: try self.list(signedBy: self.agent.trustDomain)])
            #expect(try await self.refusal(token, client) == nil, "signed by us")
            self.tell(self.partner, [Self.uri: try self.list(signedBy: self.partner)])
            #expect(try await self.refusal(token, client) != nil)
            // A bad one does not take the last good one's place.
            self.tell(self.partner, [Self.uri: "a.b.c"])
            #expect(try await self.refusal(token, client) != nil)
        }
    }

    @Test(
        "an overdue list counts for an hour; what it names stays refused; no place is a reason to refuse"
    )
    func overdue() async throws {
        let (good, bad, beyond, elsewhere) = (
            try self.token(self.partner, place: 4), try self.token(self.partner, place: 3),
            try self.token(self.partner, place: 64),
            try self.token(self.partner, place: 4, uri: "https://else.test/list")
        )
        try await self.agent.run { client, _ in
            self.tell(self.partner, [Self.uri: try self.list(signedBy: self.partner, age: 1_800)])
            #expect(try await self.refusal(good, client) == nil)
            #expect(try await self.refusal(bad, client) != nil)
            #expect(try await self.refusal(beyond, client) != nil)
            #expect(try await self.refusal(elsewhere, client) != nil)
            self.tell(self.partner, [Self.uri: try self.list(signedBy: self.partner, age: 4_000)])
            let late = try await self.refusal(good, client)
            #expect(late?.contains("overdue") == true)
            #expect(try await self.refusal(bad, client)?.contains("invalid") == true)
        }
    }
}
