import ControlPlaneProto
import Crypto
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import GRPCProtobuf
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFETLS
import ServerCore
import ServerEndpoints
import ServerTestSupport
import SwiftASN1
import SwiftProtobuf
import Testing
import X509

/// The transport of every client here.
typealias ClientTransportInUse = HTTP2ClientTransport.Posix
typealias Client = GRPCClient<ClientTransportInUse>

/// The control plane of `acme.test` behind its real endpoints, on loopback and a Unix socket.
struct TestServer: Sendable {
    let plane: TestPlane
    let port: Int
    let socketPath: String
    /// The bundle endpoints of partners.
    let endpoints: ScriptedEndpoints

    /// Runs `body` against a server of its own.
    static func with(
        adminIDs: Set<SPIFFEID> = [], bundles: [TrustBundle] = [],
        authority: AuthorityManager.Settings = AuthorityManager.Settings(),
        limits: [PartnerLimits] = [], groups: TrustDomainGroups = .none,
        bundleEndpoint: OwnBundleEndpoint? = nil,
        _ body: @escaping @Sendable (TestServer) async throws -> Void
    ) async throws {
        let folder = NSTemporaryDirectory() + "cygnet-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let socketPath = folder + "/api.sock"
        // The verifiers on both sides look at the machine's clock.
        let plane = try await TestPlane(
            clock: TestClock(Int64(Date().timeIntervalSince1970)), authority: authority,
            limits: limits, groups: groups)
        for bundle in bundles {
            _ = try await plane.store.updateBundle(bundle.trustDomain) {
                $0.x509Authorities = bundle.x509Authorities
            }
        }
        let identity = ServerIdentity(issuer: plane.issuer, logger: TestPlane.logger)
        try await identity.rotate()
        plane.authorities.add(identity)
        let tls = MTLSServerConfiguration(
            svid: identity, bundles: DirectoryBundleSource(directory: plane.directory),
            authorizer: .anyOf([.member(of: plane.trustDomain), .oneOf(adminIDs)]),
            applicationProtocols: ["h2"], clientCertificate: .optional)
        let endpoints = ScriptedEndpoints()
        var controlPlane = ControlPlane(
            directory: plane.directory, entries: plane.entries, nodes: plane.nodes,
            issuer: plane.issuer,
            bundles: BundleRegistry(directory: plane.directory, store: plane.store),
            federation: FederationRegistry(directory: plane.directory, store: plane.store),
            updater: FederationUpdater(
                directory: plane.directory, store: plane.store, fetcher: endpoints,
                logger: TestPlane.logger, now: plane.clock.now),
            authorities: plane.authorities, revocations: plane.revocations,
            policy: CallerPolicy(
                methods: MethodPolicy.methods, adminIDs: adminIDs, directory: plane.directory,
                nodes: plane.nodes,
                revocation: { plane.admission.revocation(ofSerial: $0) }),
            recorder: plane.recorder, changes: plane.changes)
        controlPlane.bundleEndpoint = bundleEndpoint
        let endpoint = ServerEndpoint(
            controlPlane,
            settings: .init(
                host: "127.0.0.1", port: 0, socketPath: socketPath, limitsAttestation: false,
                limitsSigning: false),
            logger: TestPlane.logger, tls: tls)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await endpoint.run() }
            group.addTask {
                defer { endpoint.shutDown() }
                let port = try #require(await endpoint.boundPort)
                while !FileManager.default.fileExists(atPath: socketPath) { await Task.yield() }
                try await body(
                    TestServer(
                        plane: plane, port: port, socketPath: socketPath, endpoints: endpoints))
            }
            try await group.waitForAll()
        }
    }

    /// Runs `body` as the operator, on the Unix socket.
    func local<Result: Sendable>(_ body: (Client) async throws -> Result) async throws -> Result {
        try await withGRPCClient(
            transport: try HTTP2ClientTransport.Posix(
                target: .unixDomainSocket(path: self.socketPath, authority: "localhost"),
                transportSecurity: .plaintext), handleClient: body)
    }

    /// Runs `body` over TLS, with a certificate or without.
    func tls<Result: Sendable>(
        _ identity: TestIdentity? = nil, _ body: (Client) async throws -> Result
    ) async throws -> Result {
        try await withGRPCClient(
            transport: try HTTP2ClientTransport.Posix(
                target: .ipv4(address: "127.0.0.1", port: self.port),
                transportSecurity: .tls(
                    .defaults { tls in
                        tls.serverCertificateVerification = .noVerification
                        guard let identity else { return }
                        tls.certificateChain = identity.chain.map { .bytes($0, format: .der) }
                        tls.privateKey = .bytes(identity.keyDER, format: .der)
                    })), handleClient: body)
    }

    /// Attests an agent with a fresh join token.
    func attest(_ token: String) async throws -> TestIdentity {
        let key = P256.Signing.PrivateKey()
        _ = try await self.plane.nodes.createJoinToken(value: token, ttl: 60, agentID: nil)
        let svid = try await self.plane.nodes.attest(
            joinToken: token, publicKey: Certificate.PublicKey(key.publicKey), from: "test")
        return TestIdentity(svid, key)
    }
}

/// A certificate and its key, for a client.
struct TestIdentity: Sendable {
    let id: SPIFFEID
    let chain: [[UInt8]]
    let keyDER: [UInt8]

    init(chain: [[UInt8]], key: P256.Signing.PrivateKey, id: SPIFFEID) {
        self.id = id
        self.chain = chain
        self.keyDER = [UInt8](key.derRepresentation)
    }

    init(_ svid: IssuedX509SVID, _ key: P256.Signing.PrivateKey) {
        self.init(chain: svid.chain, key: key, id: svid.spiffeID)
    }

    /// An SVID of that path, signed by that control plane without further questions.
    static func issued(by plane: TestPlane, _ path: String, ttl: Int32 = 0) async throws
        -> TestIdentity
    {
        let key = P256.Signing.PrivateKey()
        let svid = try await plane.issuer.issue(
            X509Issuance(
                spiffeID: try plane.id(path), publicKey: Certificate.PublicKey(key.publicKey),
                ttl: ttl, origin: .mint), requestedBy: "test")
        return TestIdentity(svid, key)
    }
}

/// Certificate requests of clients.
enum TestRequest {
    static func der(
        _ key: Certificate.PrivateKey = Certificate.PrivateKey(P256.Signing.PrivateKey()),
        names: [GeneralName] = [], commonName: String? = nil
    ) throws -> Data {
        var subject = DistinguishedName()
        if let commonName { subject = try DistinguishedName { CommonName(commonName) } }
        var attributes = CertificateSigningRequest.Attributes()
        if !names.isEmpty {
            let extensions = try Certificate.Extensions([
                try Certificate.Extension(SubjectAlternativeNames(names), critical: false)
            ])
            attributes = CertificateSigningRequest.Attributes([
                try CertificateSigningRequest.Attribute(ExtensionRequest(extensions: extensions))
            ])
        }
        let request = try CertificateSigningRequest(
            version: .v1, subject: subject, privateKey: key, attributes: attributes)
        var serializer = DER.Serializer()
        try serializer.serialize(request)
        return Data(serializer.serializedBytes)
    }
}

/// Bytes as a message: what no generated client would send.
struct RawMessage: MessageSerializer, MessageDeserializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Bytes {
        Bytes(message)
    }

    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> [UInt8] {
        bytes.withUnsafeBytes { Array($0) }
    }

    /// Calls a method with one message of these bytes.
    ///
    /// - Returns: the status code it failed with; nil when it did not.
    static func call(_ client: Client, _ method: String, _ bytes: [UInt8] = []) async throws
        -> RPCError?
    {
        let parts = method.split(separator: "/").map(String.init)
        var options = CallOptions.defaults
        options.waitForReady = false
        options.timeout = .seconds(30)
        do {
            _ = try await client.unary(
                request: ClientRequest(message: bytes),
                descriptor: MethodDescriptor(fullyQualifiedService: parts[0], method: parts[1]),
                serializer: RawMessage(), deserializer: RawMessage(), options: options
            ) { response in try response.message }
            return nil
        } catch let error as RPCError {
            return error
        }
    }
}

extension RPCError {
    /// Why an agent was refused, as the server said it.
    var agentReason: Spire_Api_Types_PermissionDeniedDetails.Reason? {
        guard let status = try? self.unpackGoogleRPCStatus() else { return nil }
        for detail in status.details {
            guard let any = detail.any,
                let found = try? Spire_Api_Types_PermissionDeniedDetails(unpackingAny: any)
            else { continue }
            return found.reason
        }
        return nil
    }
}

extension Spire_Api_Types_SPIFFEID {
    init(_ path: String, in trustDomain: String = "acme.test") {
        self.init()
        self.trustDomain = trustDomain
        self.path = path
    }
}

extension Spire_Api_Types_Selector {
    init(_ type: String, _ value: String) {
        self.init()
        self.type = type
        self.value = value
    }
}
