import Foundation
import Logging
import ServerEndpoints
import ServerStore
import ServiceRuntime
import Transparency

/// A witness as a program of its own: cosigns checkpoints of other servers' ledgers.
struct Witness: Sendable {
    private let configuration: WitnessConfiguration
    private let file: WitnessFile
    private let certificate: ServingCertificateFiles?
    private let logger: Logger

    /// - Throws: ``ServerError`` or ``FileError`` with what is wrong and what to do.
    init(_ configuration: WitnessConfiguration, logger: Logger) throws {
        self.configuration = configuration
        try DirectoryPath.make(configuration.dataDirectory, mode: 0o700)
        self.file = try WitnessFile(
            folder: configuration.dataDirectory, name: configuration.name,
            logs: configuration.logs, logger: logger)
        self.certificate = try configuration.certificate.map {
            try ServingCertificateFiles($0, logger: logger)
        }
        self.logger = logger
    }

    /// The verifier key, without starting a witness; made where there is none yet.
    ///
    /// - Throws: As ``init(_:logger:)``.
    static func key(_ configuration: WitnessConfiguration) throws -> VerifierKey {
        try DirectoryPath.make(configuration.dataDirectory, mode: 0o700)
        // A witness may be running on it.
        if let signer = try WitnessKey.read(folder: configuration.dataDirectory) {
            return signer.key
        }
        let silent = Logger(label: "witness") { _ in SwiftLogNoOpLogHandler() }
        return try Witness(configuration, logger: silent).file.key
    }

    /// Serves until the task is cancelled.
    ///
    /// - Throws: ``CommandError`` when the address cannot be bound.
    func run() async throws {
        let (configuration, file) = (self.configuration, self.file)
        self.logger.info(
            "witness starts",
            metadata: [
                "verifier_key": "\(file.key)",
                "logs": "\(configuration.logs.map(\.name.string).joined(separator: ", "))",
            ])
        let endpoint = WitnessEndpoint(
            place: configuration.address.place, certificate: self.certificate, logger: self.logger,
            latest: { file.latest(originDigest: $0) }, answer: { file.answer($0) })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await endpoint.run() }
            if let certificate = self.certificate {
                group.addTask { try await certificate.run() }
            }
            defer { group.cancelAll() }
            // Neither ends by itself, except with an error or when both are cancelled.
            try await group.next()
        }
    }
}

extension Witness {
    /// How long connections may go on after a signal to stop.
    private static let drainTime = Duration.seconds(5)

    /// Runs as a daemon: log, signals, and a bounded end.
    static func runDaemon(_ configuration: WitnessConfiguration) async throws {
        umask(0o027)
        OpenFileLimit.raise()
        let log = try LogSystem(configuration.log)
        let logger = log.logger()
        let witness = try Witness(configuration, logger: logger)
        // Both end with this function: the one is awaited, the other cancelled.
        let running = Task { try await witness.run() }
        let signals = Task {
            await DaemonSignals.handle(
                log: log, logger: logger, drainTime: Self.drainTime, socketPath: "",
                stop: { running.cancel() })
        }
        defer { signals.cancel() }
        do {
            try await running.value
        } catch is CancellationError {
            // Somebody stopped it.
        }
        logger.info("witness stopped")
    }
}
