package import AgentCore
import AgentEndpoints
import Foundation
package import Logging
import PluginAPI
import Plugins
import SPIFFE
import ServiceRuntime
import SwiftASN1

/// A running agent, assembled from its configuration.
package struct AgentProcess: Sendable {
    private let agent: Agent
    private let healthChecks: HealthCheckConfiguration
    private let logger: Logger

    /// Opens what the agent needs.
    ///
    /// - Parameter joinTokens: asked whenever the agent has to attest; nil takes the configured token, once.
    /// - Throws: ``CommandError``, ``FileError`` or ``KeyManagerError`` with what is wrong and what to do.
    package init(
        _ configuration: AgentConfiguration, logger: Logger, events: (any AgentEvents)? = nil,
        joinTokens: (@Sendable () -> String?)? = nil
    ) throws {
        let trustDomain = try TrustDomain(configuration.trustDomain)
        try DirectoryPath.make(configuration.dataDirectory, mode: 0o700)
        try DirectoryPath.make(
            (configuration.socketPath as NSString).deletingLastPathComponent, mode: 0o755)
        var settings = AgentSettings(
            trustDomain: trustDomain, serverAddress: configuration.serverAddress,
            serverPort: configuration.serverPort, socketPath: configuration.socketPath,
            dataDirectory: configuration.dataDirectory,
            bootstrap: try Self.bootstrap(configuration, trustDomain))
        settings.joinToken = try joinTokens ?? Self.joinTokens(configuration)
        settings.syncInterval = configuration.syncInterval
        settings.workloadKeyType =
            KeyType(rawValue: configuration.workloadX509SVIDKeyType) ?? .ecP256
        settings.availabilityTarget = configuration.availabilityTarget
        settings.maximumX509SVIDs = configuration.x509SVIDCacheMaxSize
        settings.maximumJWTSVIDs = configuration.jwtSVIDCacheMaxSize
        settings.allowsUnauthenticatedVerifiers = configuration.allowUnauthenticatedVerifiers
        settings.allowedForeignJWTClaims = Set(configuration.allowedForeignJWTClaims)
        settings.broker = configuration.broker
        settings.offersWITSVIDs = configuration.offersWITSVIDs
        settings.agentVersion = ProgramVersion.current
        self.healthChecks = configuration.healthChecks
        self.logger = logger
        self.agent = Agent(
            configuration: settings, keyManager: try Self.keyManager(configuration),
            attestors: [
                UnixWorkloadAttestor(
                    configuration: .init(
                        discoversPath: configuration.unixAttestor.discoverWorkloadPath,
                        sizeLimit: Int64(configuration.unixAttestor.workloadSizeLimit)))
            ],
            logger: logger, events: events)
    }

    /// Runs until the task is cancelled or the agent cannot start.
    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.agent.run() }
            group.addTask {
                let identities = self.agent.identities
                // Live from the start: an agent without its server serves what it has. Ready once it knows what
                // to serve.
                try await HealthListener(
                    self.healthChecks,
                    checks: .init(isLive: { true }, isReady: { identities.isSynchronised }),
                    logger: self.logger
                ).run()
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private static func keyManager(_ configuration: AgentConfiguration) throws -> any KeyManager {
        switch configuration.keyManager {
        case .memory: return MemoryKeyManager()
        case .disk(let directory):
            try DirectoryPath.make(directory, mode: 0o700)
            return try DiskKeyManager(path: directory + "/keys.json")
        }
    }

    private static func joinTokens(
        _ configuration: AgentConfiguration
    ) throws -> @Sendable () -> String? {
        if let token = configuration.joinToken { return { token } }
        guard let path = configuration.joinTokenFile else { return { nil } }
        let bytes = try BoundedFile.read(path, limit: 4096)
        let token = String(decoding: bytes, as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        guard !token.isEmpty else {
            throw CommandError("join token file \(path) is empty")
        }
        return { token }
    }

    private static func bootstrap(
        _ configuration: AgentConfiguration, _ trustDomain: TrustDomain
    ) throws -> AgentSettings.Bootstrap {
        if configuration.insecureBootstrap { return .insecure }
        guard let path = configuration.trustBundlePath else {
            throw CommandError(
                "trust_bundle_url is not supported yet; use trust_bundle_path (see \"bundle show\" of the server)"
            )
        }
        let bytes = try BoundedFile.read(path, limit: 4 << 20)
        let authorities: [[UInt8]]
        do {
            switch configuration.trustBundleFormat {
            case .pem:
                authorities = try PEMDocument.parseMultiple(
                    pemString: String(decoding: bytes, as: UTF8.self)
                ).filter { $0.discriminator == "CERTIFICATE" }.map(\.derBytes)
            case .spiffe:
                authorities = try SPIFFEBundle(trustDomain: trustDomain, json: bytes)
                    .x509Authorities
            }
        } catch {
            throw CommandError(
                "trust bundle \(path) cannot be read as \(configuration.trustBundleFormat.rawValue): \(error)"
            )
        }
        guard !authorities.isEmpty else {
            throw CommandError("trust bundle \(path) has no X.509 authority")
        }
        return .authorities(authorities)
    }
}
