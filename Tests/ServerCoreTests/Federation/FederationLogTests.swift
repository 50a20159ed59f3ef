import Logging
import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

/// Keeps what was logged.
private final class Lines: Sendable {
    struct Line: Sendable {
        let level: Logger.Level
        let metadata: [String: String]
    }

    private let lines = NIOLockedValueBox<[Line]>([])
    var all: [Line] { self.lines.withLockedValue { $0 } }
    func append(_ line: Line) { self.lines.withLockedValue { $0.append(line) } }
}

private struct KeepingHandler: LogHandler {
    let lines: Lines
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    var logLevel = Logger.Level.info

    init(_ lines: Lines) { self.lines = lines }

    func log(event: LogEvent) {
        self.lines.append(
            .init(
                level: event.level,
                metadata: (event.metadata ?? [:]).mapValues { "\($0)" }))
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }
}

@Suite(.timeLimit(.minutes(2))) struct FederationLogTests {
    @Test(
        "FED-40: each fetch is logged, with the partner, the endpoint and the number of the bundle")
    func logsEachFetch() async throws {
        let plane = try await TestPlane()
        let endpoints = ScriptedEndpoints()
        let lines = Lines()
        let partner = try TrustDomain("b.test")
        let updater = FederationUpdater(
            directory: plane.directory, store: plane.store, fetcher: endpoints,
            logger: Logger(label: "test") { _ in KeepingHandler(lines) }, now: plane.clock.now)
        let run = Task { try await updater.run() }
        defer { run.cancel() }
        endpoints.fail(partner, ServerError(.unavailable, "no route"))
        let relationship = FederationRelationship(
            trustDomain: partner, bundleEndpointURL: "https://b.test/bundle",
            profile: .httpsSPIFFE(endpointID: try SPIFFEID("spiffe://b.test/endpoint")))
        _ = try await FederationRegistry(directory: plane.directory, store: plane.store)
            .create(.init(relationship))
        await #expect(throws: ServerError.self) { try await updater.refresh(partner) }
        let failed = lines.all
        #expect(!failed.isEmpty && failed.allSatisfy { $0.level == .warning })
        endpoints.serve(try Partner.bundle("b.test", sequence: 7))
        try await updater.refresh(partner)
        try await updater.refresh(partner)
        let fetched = lines.all.filter { $0.level == .info }
        #expect(fetched.count >= 2, "what brought nothing new is logged too")
        for line in failed + fetched {
            #expect(line.metadata[LogKeys.partner] == "b.test")
            #expect(line.metadata[LogKeys.endpointURL] == "https://b.test/bundle")
            #expect(line.metadata[LogKeys.endpointID] == "spiffe://b.test/endpoint")
        }
        #expect(failed.allSatisfy { $0.metadata[LogKeys.error]?.contains("no route") == true })
        #expect(fetched.allSatisfy { $0.metadata[LogKeys.foreignSequence] == "7" })
    }
}
