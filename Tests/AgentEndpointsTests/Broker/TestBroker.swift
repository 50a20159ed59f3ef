import AgentCore
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import SPIFFETLS
import SPIFFEWorkloadAPI
import WorkloadAPIProto

@testable import AgentEndpoints
@testable import SPIFFEBroker

/// Says of each process what a test says.
final class ByPID: WorkloadAttestor {
    let name = "unix"
    private let known = NIOLockedValueBox<[Int32: [String]]>([:])

    func set(_ pid: Int32, _ selectors: [String]) {
        self.known.withLockedValue { $0[pid] = selectors }
    }

    func selectors(of process: any ProcessReference) async throws -> [Selector] {
        try self.known.withLockedValue { $0[process.pid] ?? [] }.map { try Selector($0) }
    }
}

/// Keeps what is logged.
struct KeptLog: LogHandler {
    let records = NIOLockedValueBox<[(message: String, metadata: Logger.Metadata)]>([])
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        self.records.withLockedValue {
            $0.append((event.message.description, event.metadata ?? [:]))
        }
    }

    /// The identities that brokers were handed, in order, each time by method.
    var handed: [String] {
        self.records.withLockedValue { $0 }.compactMap { record in
            guard record.message == "handed a workload's identities to its broker",
                case .array(let ids)? = record.metadata["spiffe_ids"],
                let method = record.metadata["method"]
            else { return nil }
            return "\(method) " + ids.map { "\($0)" }.joined(separator: " ")
        }
    }
}

/// A child that sleeps until the test is done with it. Not Foundation's `Process`: its wait spins in a run loop on
/// the thread of the test, and children that start at the same time keep each other's end from being seen.
final class Child {
    let pid: pid_t
    private var hasEnded = false

    init(_ executable: String = "/bin/sleep", _ arguments: [String] = ["600"]) throws {
        var pid: pid_t = 0
        var words: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
        defer { for word in words { free(word) } }
        words.append(nil)
        let result = posix_spawn(&pid, executable, nil, nil, words, environ)
        guard result == 0 else { throw POSIXError(POSIXErrorCode(rawValue: result) ?? .EINVAL) }
        self.pid = pid
    }

    deinit { self.end() }

    /// Kills it and takes its exit code, after which its number may be used again.
    func end() {
        if self.hasEnded { return }
        self.hasEnded = true
        kill(self.pid, SIGKILL)
        var status: CInt = 0
        while waitpid(self.pid, &status, 0) < 0 && errno == EINTR {}
    }
}

/// The Broker Endpoint on a real Unix socket and a real port, the SDK's client, and workloads that are children of
/// the test.
struct TestBroker {
    let agent: TestAgent
    let facts = ByPID()
    let agentID: SPIFFEID
    let log = KeptLog()
    /// How far the clock that brokers' X509-SVIDs are held against is ahead.
    let clockOffset = NIOLockedValueBox<TimeInterval>(0)
    let path = NSTemporaryDirectory() + "cygnet-\(UUID().uuidString.prefix(8)).sock"

    init() throws {
        self.agent = try TestAgent(attestor: self.facts)
        self.agentID = try SPIFFEID("spiffe://acme.test/spire/agent/a1")
    }

    static func policy(
        _ path: String = "/broker", types: [String: Bool] = [BrokerPolicy.pidType: false],
        selectors: [String] = []
    ) throws -> BrokerPolicy {
        BrokerPolicy(
            id: try SPIFFEID("spiffe://acme.test" + path), referenceTypes: types,
            workloadSelectors: Set(try selectors.map { try Selector($0) }))
    }

    /// A workload with these selectors.
    func child(_ selectors: String...) throws -> Child {
        let child = try Child()
        self.facts.set(child.pid, selectors)
        return child
    }

    var bundle: X509Bundle {
        get throws {
            try X509Bundle(
                trustDomain: self.agent.trustDomain, authoritiesDER: [self.agent.rootDER])
        }
    }

    /// Waits are short in tests, and their number does not matter.
    static var quick: BrokerConfiguration {
        var configuration = BrokerConfiguration()
        configuration.firstBackOff = .milliseconds(5)
        configuration.longestBackOff = .milliseconds(20)
        configuration.callTimeout = .seconds(20)
        return configuration
    }

    /// What a test works with.
    struct Running: Sendable {
        let client: BrokerClient
        /// The same connection for calls that the client would not make.
        let connections: BrokerConnections
        let port: Int?

        var api: Spiffe_Broker_API.Client<HTTP2ClientTransport.Posix> {
            get throws {
                Spiffe_Broker_API.Client(wrapping: try self.connections.connection().client)
            }
        }
    }

    /// Serves for as long as the body runs.
    ///
    /// - Parameters:
    ///   - caller: The path of the caller's SPIFFE ID.
    ///   - overTCP: Whether the client comes over TCP.
    ///   - server: Whom the client expects; nil for the agent.
    ///   - maximumCalls: Calls that may be open at once.
    func run(
        _ policies: [BrokerPolicy], as caller: String = "/broker", overTCP: Bool = false,
        server: Authorizer? = nil, maximumCalls: Int = 20_000,
        _ body: (Running) async throws -> Void
    ) async throws {
        let bundle = try self.bundle
        let endpoint = BrokerEndpoint(
            settings: BrokerSettings(
                socketPath: self.path, host: "127.0.0.1", port: 0, brokers: policies),
            api: self.agent.api, svid: try self.agent.svid("/spire/agent/a1"), bundles: bundle,
            maximumCalls: maximumCalls, logger: Logger(label: "test") { [log] _ in log },
            now: { [clockOffset] in
                Date().addingTimeInterval(clockOffset.withLockedValue { $0 })
            })
        let own = try self.agent.svid(caller)
        let expected = server ?? .exactly(self.agentID)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer {
                self.agent.identities.stop()
                group.cancelAll()
            }
            group.addTask { try await endpoint.run() }
            group.addTask { await self.agent.sign() }
            await endpoint.waitUntilBound()
            let port = await endpoint.boundPort
            let address = try BrokerAddress(
                overTCP ? "tcp://127.0.0.1:\(port ?? 1)" : "unix:" + self.path)
            let connections = BrokerConnections(
                address, svid: own,
                verifier: TLSPeerVerifier(bundles: bundle, authorizer: expected),
                Self.quick)
            let client = try BrokerClient(
                address: address, svid: own, bundles: bundle, server: expected,
                configuration: Self.quick)
            group.addTask { try await connections.run() }
            group.addTask { try await client.run() }
            try await body(Running(client: client, connections: connections, port: port))
        }
    }
}

/// The error of a call that must fail.
func failure(_ body: () async throws -> Void) async -> BrokerError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? BrokerError
    }
}
