import ArgumentParser
import Foundation
import LoopbackTestSupport
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFEHTTP
import SPIFFETLS
import ServerCore
import ServerEndpoints
import ServerTestSupport
import ServiceRuntime

@testable import ServerProgram

/// The server of `acme.test` behind its local API, for commands to talk to.
struct AcceptingServer: Sendable {
    let plane: TestPlane
    let socketPath: String

    /// Runs `body` against a server of its own.
    ///
    /// - Parameter relationships: those of its configuration.
    static func with(
        relationships: [FederationRelationship] = [],
        _ body: @escaping @Sendable (AcceptingServer) async throws -> Void
    ) async throws {
        let folder = NSTemporaryDirectory() + "cygnet-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let socketPath = folder + "/api.sock"
        let plane = try await TestPlane(
            clock: TestClock(Int64(Date().timeIntervalSince1970)), relationships: relationships)
        let identity = ServerIdentity(issuer: plane.issuer, logger: TestPlane.logger)
        try await identity.rotate()
        let endpoint = ServerEndpoint(
            ControlPlane(
                directory: plane.directory, entries: plane.entries, nodes: plane.nodes,
                issuer: plane.issuer,
                bundles: BundleRegistry(directory: plane.directory, store: plane.store),
                federation: FederationRegistry(directory: plane.directory, store: plane.store),
                // Nobody answers: what is stored came with a command.
                updater: FederationUpdater(
                    directory: plane.directory, store: plane.store, fetcher: ScriptedEndpoints(),
                    logger: TestPlane.logger, now: plane.clock.now),
                authorities: plane.authorities, revocations: plane.revocations,
                policy: CallerPolicy(
                    methods: MethodPolicy.methods, adminIDs: [], directory: plane.directory,
                    nodes: plane.nodes),
                recorder: plane.recorder, changes: plane.changes),
            settings: .init(host: "127.0.0.1", port: 0, socketPath: socketPath),
            logger: TestPlane.logger,
            tls: MTLSServerConfiguration(
                svid: identity, bundles: DirectoryBundleSource(directory: plane.directory),
                authorizer: .member(of: plane.trustDomain), applicationProtocols: ["h2"],
                clientCertificate: .optional))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await endpoint.run() }
            group.addTask {
                defer { endpoint.shutDown() }
                _ = await endpoint.boundPort
                while !FileManager.default.fileExists(atPath: socketPath) { await Task.yield() }
                try await body(AcceptingServer(plane: plane, socketPath: socketPath))
            }
            try await group.waitForAll()
        }
    }

    /// Runs `federation accept` with these arguments.
    ///
    /// - Parameter web: who is trusted for host names.
    /// - Returns: what it wrote, and its error.
    func accept(
        _ arguments: [String], web: WebAuthority
    ) async throws -> (output: String, error: CommandError?) {
        let output = NIOLockedValueBox("")
        let context = CommandContext(environment: [:]) { text in
            output.withLockedValue { $0 += text }
        } errorOutput: { _ in
        }
        let command = try FederationAcceptCommand.parse(
            arguments + ["-socketPath", self.socketPath])
        let endpoint = InvitingEndpoint(webAuthorities: .authorities(pem: web.rootPEM))
        do {
            try await CommandContext.$current.withValue(context) {
                try await command.run(endpoint: endpoint)
            }
            return (output.withLockedValue { $0 }, nil)
        } catch let error as CommandError {
            return (output.withLockedValue { $0 }, error)
        }
    }

    func relationship(_ name: String = "b.test") throws -> FederationRelationship? {
        self.plane.directory.storedRelationship(try TrustDomain(name))
    }

    func bundle(_ name: String = "b.test") throws -> TrustBundle? {
        self.plane.directory.bundle(try TrustDomain(name))
    }

    /// Whether nothing is known of any partner.
    var isUntouched: Bool {
        self.plane.directory.relationships.isEmpty && self.plane.directory.foreignBundles.isEmpty
            && self.plane.directory.limits.isEmpty
    }
}
