import AgentProgram
import Foundation
import Logging
import NIOConcurrencyHelpers
import ServerProgram
import ServiceRuntime

/// Server and agent of one laptop, and what is printed about them.
struct Laptop: Sendable {
    let trustDomain: String
    let paths: LaptopPaths
    let logger: Logger
    let lines: LiveLines
    let isEphemeral: Bool

    /// Runs until SIGTERM or SIGINT.
    func run() async throws {
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        let server = ServerProcess(self.serverConfiguration, logger: self.logger) { event in
            if case .serving(let bound) = event { port.yield(bound) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            group.addTask {
                for await signal in ProcessSignal.sequence(of: [.terminate, .interrupt]) {
                    self.lines.print("stopping", "\(signal)")
                    return
                }
            }
            group.addTask {
                var iterator = ports.makeAsyncIterator()
                guard let bound = await iterator.next() else { return }
                try await self.runAgent(port: bound, of: server)
            }
            defer {
                server.shutDown()
                group.cancelAll()
            }
            // The first that ends, ends all: a signal, or a failure.
            try await group.next()
            server.shutDown()
            group.cancelAll()
            // What the others say while they are being stopped is no failure.
            while await group.nextResult() != nil {}
        }
    }

    private func runAgent(port: Int, of server: ServerProcess) async throws {
        let token = try await server.joinToken()
        try AtomicFile.write(Array(server.bundlePEM.utf8), to: self.paths.state + "/bundle.pem")
        var configuration = AgentConfiguration(
            trustDomain: self.trustDomain, serverAddress: "127.0.0.1", serverPort: port,
            keyManager: .disk(directory: self.paths.state + "/agent"))
        configuration.dataDirectory = self.paths.state + "/agent"
        configuration.socketPath = self.paths.agentSocket
        configuration.trustBundlePath = self.paths.state + "/bundle.pem"
        configuration.unixAttestor.discoverWorkloadPath = true
        let agent = try AgentProcess(
            configuration, logger: self.logger,
            events: LaptopEvents(lines: self.lines) { self.announce(server.agentIDs.first ?? "") },
            joinTokens: { token })
        try await agent.run()
    }

    private var serverConfiguration: ServerConfiguration {
        var configuration = ServerConfiguration(
            trustDomain: self.trustDomain, dataDirectory: self.paths.state,
            keyManager: .disk(keysPath: self.paths.state + "/keys.json"),
            sqlitePath: self.paths.state + "/store.sqlite3")
        configuration.bindAddress = "127.0.0.1"
        configuration.bindPort = 0
        configuration.socketPath = self.paths.serverSocket
        configuration.ratelimitAttestation = false
        configuration.ratelimitSigning = false
        // A laptop sleeps: its agent must find its identity still valid in the morning.
        configuration.agentTTL = .seconds(7 * 86_400)
        configuration.caTTL = .seconds(30 * 86_400)
        return configuration
    }

    /// The sockets and the next three commands, once the agent has its identity.
    private func announce(_ agentID: String) {
        let server = self.paths.serverSocket
        self.lines.block(
            """

            Cygnet is up\(self.isEphemeral ? " (ephemeral)" : ""). Trust domain \(self.trustDomain)

              server socket  \(server)
              agent socket   \(self.paths.agentSocket)

            Next, in another terminal:

              1. register your user's programs:
                 cygnet-server entry create -socketPath \(server) \\
                     -parentID \(agentID) \\
                     -spiffeID spiffe://\(self.trustDomain)/me -selector unix:uid:\(getuid())
              2. see an identity:
                 cygnet-agent api fetch x509 -socketPath \(self.paths.agentSocket)
              3. run a program with one:
                 cygnet exec -- python3 your_agent.py

            What happens from now on:

            """)
    }
}
