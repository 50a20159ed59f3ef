import AgentCore
import Crypto
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import SPIFFEGRPC
import SwiftASN1
import Testing
import WorkloadAPIProto
import X509

@testable import AgentEndpoints

/// The Workload API on a real Unix socket, with a server that is played by the test.
final class TestAgent: Sendable {
    typealias Client = SpiffeWorkloadAPI.Client<HTTP2ClientTransport.Posix>

    let trustDomain: TrustDomain
    let identities: WorkloadIdentities
    let rootKey = P256.Signing.PrivateKey()
    let jwtKey = P256.Signing.PrivateKey()
    let witKey = P256.Signing.PrivateKey()
    private let offersWITSVIDs: Bool
    let rootDER: [UInt8]
    private let root: Certificate
    let api: WorkloadAPI

    init(
        allowsUnauthenticatedVerifiers: Bool = false, foreignClaims: Set<String> = [],
        attestor: (any WorkloadAttestor)? = nil,
        offersWITSVIDs: Bool = false, servedStore: (any ServedProcessStore)? = nil,
        now: @escaping @Sendable () -> Date = { Date() }
    ) throws {
        self.offersWITSVIDs = offersWITSVIDs
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        self.trustDomain = try TrustDomain("acme.test")
        var settings = WorkloadIdentities.Settings()
        settings.cache.allowsUnauthenticatedVerifiers = allowsUnauthenticatedVerifiers
        self.identities = WorkloadIdentities(
            trustDomain: self.trustDomain, settings: settings, logger: logger, now: now,
            servedStore: servedStore)
        self.api = WorkloadAPI(
            settings: WorkloadAPI.Settings(
                trustDomain: self.trustDomain, allowedForeignJWTClaims: foreignClaims,
                offersWITSVIDs: offersWITSVIDs),
            identities: self.identities,
            attestation: WorkloadAttestation(
                attestors: [attestor ?? OwnUser()], logger: logger), logger: logger
        )
        let key = Certificate.PrivateKey(self.rootKey)
        let name = try DistinguishedName { CommonName("root") }
        self.root = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: key.publicKey,
            notValidBefore: Date().addingTimeInterval(-60),
            notValidAfter: Date().addingTimeInterval(86_400), issuer: name, subject: name,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectAlternativeNames([.uniformResourceIdentifier("spiffe://acme.test")])
            }, issuerPrivateKey: key)
        self.rootDER = try Self.der(self.root)
    }

    /// Runs the endpoint and a client on one connection for as long as the closure runs.
    ///
    /// - Parameter limits: Of the listener.
    func run(
        signs: Bool = true,
        limits: SPIFFEServerTransport.Settings = SPIFFEServerTransport.Settings(),
        _ body: @Sendable (Client, GRPCClient<HTTP2ClientTransport.Posix>) async throws -> Void
    ) async throws {
        let path = NSTemporaryDirectory() + "cygnet-" + UUID().uuidString.prefix(8) + ".sock"
        defer { unlink(path) }
        let server = GRPCServer(
            transport: SPIFFEServerTransport(
                listener: .unixSocket(path: path, mode: 0o600), settings: limits,
                services: [
                    WorkloadAPIService(self.api), WorkloadRevocationsService(self.api),
                    PartnerLimitsService(self.api), CustodyService(self.api),
                ]),
            services: [AgentHealthService(identities: self.identities)])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            // Calls made before there is a socket fail instead of waiting for it.
            _ = await server.transport.boundPort
            if signs { group.addTask { await self.sign() } }
            let transport = try HTTP2ClientTransport.Posix(
                target: .unixDomainSocket(path: path, authority: "localhost"),
                transportSecurity: .plaintext,
                config: .defaults { $0.backoff.initial = .milliseconds(10) })
            try await withGRPCClient(transport: transport) { client in
                try await body(Client(wrapping: client), client)
            }
            self.identities.stop()
            server.beginGracefulShutdown()
            group.cancelAll()
        }
    }

    // MARK: The server's part

    /// Tells the agent its entries and bundles, as after a first synchronisation.
    func synchronise(_ entries: [AuthorizedEntry], _ bundles: [AgentBundle] = []) {
        self.identities.receive(.bundles(BundleChange(upserted: [self.bundle] + bundles)))
        self.identities.receive(.entries(EntryChange(isSnapshot: true, upserted: entries)))
    }

    var bundle: AgentBundle {
        AgentBundle(
            trustDomain: self.trustDomain,
            x509Authorities: [AgentBundle.X509Authority(der: self.rootDER)],
            jwtAuthorities: [
                AgentBundle.JWTAuthority(
                    keyID: "k1", publicKeyDER: Array(self.jwtKey.publicKey.derRepresentation))
            ],
            witAuthorities: self.offersWITSVIDs
                ? [
                    AgentBundle.WITAuthority(
                        keyID: "w1", publicKeyDER: Array(self.witKey.publicKey.derRepresentation))
                ] : [])
    }

    static func entry(
        _ id: String, selector: String = "unix:uid:own", createdAt: Int64 = 0, hint: String = "",
        federatesWith: [String] = []
    ) throws -> AuthorizedEntry {
        AuthorizedEntry(
            id: id, spiffeID: try SPIFFEID("spiffe://acme.test/" + id),
            selectors: [try Selector(selector)],
            federatesWith: try federatesWith.map { try TrustDomain($0) }, hint: hint,
            createdAt: createdAt)
    }

    /// Signs what the agent asks for until the task is cancelled.
    func sign() async {
        for await _ in self.identities.begin(isPush: true) {
            for request in self.identities.takeRequests(limit: 100) {
                switch request {
                case .x509(let batch):
                    for one in batch {
                        let result = Result { try self.chain(one) }
                            .mapError { IssuanceRefusal(code: 13, message: "\($0)") }
                        self.identities.receive(.x509(requestID: one.requestID, result))
                    }
                case .jwt(let id, let entryID, let audience):
                    let result = Result { try self.token(entryID, audience) }
                        .mapError { IssuanceRefusal(code: 13, message: "\($0)") }
                    self.identities.receive(.jwt(requestID: id, result))
                case .wit(let batch):
                    for one in batch {
                        let result = Result { try self.witToken(one) }
                            .mapError { IssuanceRefusal(code: 13, message: "\($0)") }
                        self.identities.receive(.wit(requestID: one.requestID, result))
                    }
                case .custody(let id, let statement, _):
                    // What a server says that has taken the signer back.
                    let isRefused = statement.statement.action == "refuse"
                    self.identities.receive(
                        .custody(
                            requestID: id,
                            isRefused
                                ? .failure(IssuanceRefusal(code: 9, message: "revoked"))
                                : .success(())))
                case .workloadEnd(let id, _):
                    self.identities.receive(.workloadEnd(requestID: id, .success(())))
                case .resync, .confirmBundle, .confirmRevocations:
                    break
                }
            }
        }
    }

    private func chain(_ request: SessionRequest.X509) throws -> [[UInt8]] {
        [try Self.der(self.leaf(request.key.privateKey.publicKey, "/" + request.entryID))]
    }

    /// An identity that the trust domain vouches for, with a key of its own.
    func svid(_ path: String, lasting: TimeInterval = 3600) throws -> SPIFFE.X509SVID {
        let key = P256.Signing.PrivateKey()
        let leaf = try self.leaf(Certificate.PrivateKey(key).publicKey, path, lasting: lasting)
        return try SPIFFE.X509SVID(
            certificates: [try Self.der(leaf)], privateKeyPKCS8DER: Array(key.derRepresentation))
    }

    /// What a stream is to hear of next: "b" beside "a", then "b" alone, then nothing.
    func changeIdentities(after ids: [String]) throws {
        #expect(!ids.isEmpty)
        switch ids.count {
        case 1 where ids == ["spiffe://acme.test/a"]:
            let entry = try TestAgent.entry("b", createdAt: 2)
            self.identities.receive(.entries(EntryChange(upserted: [entry])))
        case 2:
            self.identities.receive(.entries(EntryChange(removedIDs: ["a"])))
        default:
            self.identities.receive(.entries(EntryChange(removedIDs: ["b"])))
        }
    }

    private func leaf(
        _ publicKey: Certificate.PublicKey, _ path: String, lasting: TimeInterval = 3600
    ) throws -> Certificate {
        try Certificate(
            version: .v3, serialNumber: .init(), publicKey: publicKey,
            notValidBefore: Date().addingTimeInterval(min(-10, lasting - 10)),
            notValidAfter: Date().addingTimeInterval(lasting), issuer: self.root.subject,
            subject: DistinguishedName { CountryName("US") }, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                SubjectAlternativeNames([
                    .uniformResourceIdentifier("spiffe://acme.test" + path)
                ])
            }, issuerPrivateKey: Certificate.PrivateKey(self.rootKey))
    }

    func token(_ entryID: String, _ audience: [String]) throws -> IssuedJWTSVID {
        let now = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
        let signer = try JWSSigner(privateKey: Certificate.PrivateKey(self.jwtKey), keyID: "k1")
        let claims = JSONValue.object([
            "sub": .string("spiffe://acme.test/" + entryID),
            "aud": .array(audience.map { .string($0) }),
            "iat": .int(Int64(now.timeIntervalSince1970)),
            "exp": .int(Int64(now.timeIntervalSince1970) + 300), "extra": .string("x"),
        ])
        return IssuedJWTSVID(
            spiffeID: try SPIFFEID("spiffe://acme.test/" + entryID),
            token: try signer.sign(claims: claims.serialized()), issuedAt: now,
            expiresAt: now.addingTimeInterval(300), keyID: "k1")
    }

    private func witToken(_ request: SessionRequest.WIT) throws -> String {
        let now = Int64(Date().timeIntervalSince1970)
        let signer = try JWSSigner(
            privateKey: Certificate.PrivateKey(self.witKey), keyID: "w1", type: "wit+jwt")
        let claims: JSONValue = [
            "sub": .string("spiffe://acme.test/" + request.entryID), "iat": .int(now),
            "exp": .int(now + 3600),
            "cnf": ["jwk": .object(request.key.confirmationKey.jwk)],
        ]
        return try signer.sign(claims: claims.serialized())
    }

    private static func der(_ certificate: Certificate) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}

/// States one fact about every process, so that a test can match the test process.
private struct OwnUser: WorkloadAttestor {
    let name = "unix"
    func selectors(of process: any ProcessReference) async throws -> [Selector] {
        [try Selector("unix:uid:own")]
    }
}
