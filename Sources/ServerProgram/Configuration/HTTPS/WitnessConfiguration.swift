import Logging
import ServiceRuntime
import Transparency

/// A file of `cygnet-server witness`.
struct WitnessConfiguration: Sendable, Hashable {
    /// `name`: the name of the witness's key, such as `witness.example.org`.
    let name: NoteKeyName
    /// `data_dir`: its key and what it remembers.
    let dataDirectory: String
    /// `address`, default `0.0.0.0`, and `port`.
    let address: ListeningAddress
    /// `serving_cert_file`; without it there is no TLS. Everything that comes and goes is signed.
    let certificate: ServingCertificateConfiguration?
    /// `logs`: verifier keys.
    let logs: [VerifierKey]
    let log: LogConfiguration

    /// - Throws: ``ConfigurationError``.
    init(_ document: ConfigurationDocument) throws(ConfigurationError) {
        var root = try document.section()
        let name = try root.parsed(
            "name", expecting: "a name without spaces and \"+\", such as \"witness.example.org\""
        ) { try NoteKeyName($0) }
        guard let name else {
            throw root.missing("name", "it is the name of the witness's key")
        }
        self.name = name
        guard let folder = try root.string("data_dir").nonEmpty else {
            throw root.missing("data_dir", "the witness's key and memory are there")
        }
        self.dataDirectory = folder
        let host = try root.string("address").nonEmpty ?? "0.0.0.0"
        guard let port = try root.integer("port", in: 0...65535) else {
            throw root.missing("port", "the witness listens there, such as port = 8095")
        }
        self.address = ListeningAddress(host: host, port: port)
        try ServingCertificateConfiguration.refuseACME(&root)
        if var files = try root.section("serving_cert_file") {
            self.certificate = try ServingCertificateConfiguration(
                reading: &files, interval: .seconds(3_600))
            try files.finish()
        } else {
            self.certificate = nil
        }
        self.logs = try Self.logs(&root)
        let level = try root.choice("log_level", among: LogConfiguration.levelNames)
        let format = try root.choice("log_format", among: LogFormat.allCases.map(\.rawValue) + [""])
        self.log = LogConfiguration(
            level: level.flatMap { LogConfiguration.level(named: $0) } ?? .info,
            format: format.flatMap { LogFormat(rawValue: $0) } ?? .text,
            file: try root.string("log_path").nonEmpty)
        try root.finish()
    }

    private static func logs(
        _ root: inout ConfigurationSection
    ) throws(ConfigurationError) -> [VerifierKey] {
        guard let texts = try root.strings("logs"), !texts.isEmpty else {
            throw root.missing(
                "logs", "it lists the verifier keys of the logs, from \"cygnet-server ledger key\"")
        }
        var keys: [VerifierKey] = []
        for text in texts {
            let key: VerifierKey
            do throws(TransparencyError) {
                key = try VerifierKey(parsing: text)
            } catch {
                throw ConfigurationError(
                    .invalidValue, "key \"logs\" at \(root.location(of: "logs")): \(error.message)")
            }
            guard key.algorithm == .ed25519 else {
                throw ConfigurationError(
                    .invalidValue,
                    "key \"logs\" at \(root.location(of: "logs")): the key of \(key.name) is that of a witness; "
                        + "expected a log's, of algorithm 1")
            }
            keys.append(key)
        }
        return keys
    }
}
