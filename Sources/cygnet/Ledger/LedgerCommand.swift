import ArgumentParser
import Foundation
import ServerCore
import Transparency

/// `cygnet ledger …`: checks what a server recorded, without the server.
struct LedgerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger",
        abstract: "Check a server's ledger offline.",
        discussion: "Trusts the verifier key that it is given and nothing else.",
        subcommands: [
            LedgerVerifyCommand.self, LedgerProveCommand.self, LedgerCheckCommand.self,
            LedgerShowCommand.self, LedgerTailCommand.self,
        ])
}

/// Whom to trust.
struct LedgerTrust: ParsableArguments {
    @Option(help: "The log's verifier key (<name>+<key ID>+<base64>), or a file with it.")
    var key: String

    @Option(
        name: .customLong("witness"),
        help: "Verifier key of a witness, or a file with it; may be given several times.")
    var witnesses: [String] = []

    @Option(help: "How many of the witnesses must have cosigned; default: all.")
    var quorum: Int?

    func verifierKey() throws -> VerifierKey { try Self.verifierKey(self.key) }

    func verifier() throws -> ProofVerifier {
        let witnesses = try self.witnesses.map(Self.verifierKey)
        return try ProofVerifier(
            key: self.verifierKey(), witnesses: witnesses, quorum: self.quorum ?? witnesses.count)
    }

    private static func verifierKey(_ word: String) throws -> VerifierKey {
        guard !word.contains("+"), let bytes = try DirectoryTileReader.read(file: word, limit: 4096)
        else { return try VerifierKey(parsing: word) }
        let text = String(decoding: bytes, as: UTF8.self)
        return try VerifierKey(parsing: text.trimmingCharacters(in: .whitespacesAndNewlines))
    }
}

/// Where the log is.
struct LedgerPlace: ParsableArguments {
    @Option(help: "The ledger's folder, with checkpoint and tile/ in it.")
    var dir: String?

    @Option(help: "Where a server offers the ledger: an http or https address.")
    var url: String?

    func reader() throws -> any TileReader {
        switch (self.dir, self.url) {
        case (let dir?, nil):
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: dir, isDirectory: &isFolder),
                isFolder.boolValue
            else { throw LaptopError(message: "there is no folder \(dir)") }
            return DirectoryTileReader(folder: dir)
        case (nil, let url?): return try WebTileReader(url: url)
        default:
            throw LaptopError(
                message: "give the ledger's folder with --dir, or its address with --url")
        }
    }
}

/// Which leaves.
struct LedgerSelection: ParsableArguments {
    @Option(help: "Leaves of this type: svid.issued, or svid for all that begin so.")
    var type: String?

    @Option(name: .customLong("spiffe-id"), help: "Leaves about this SPIFFE ID.")
    var spiffeID: String?

    @Option(help: "Serial number of a certificate, in hexadecimal.")
    var serial: String?

    @Option(help: "The jti of a token.")
    var jti: String?

    @Option(name: .customLong("entry-id"), help: "Leaves about this registration entry.")
    var entryID: String?

    @Option(help: "SPIFFE ID of an agent.")
    var node: String?

    @Option(help: "Who asked.")
    var caller: String?

    @Option(help: "Statements of workloads about this transaction.")
    var txn: String?

    @Option(help: "Not before this time (RFC 3339, UTC).")
    var since: String?

    @Option(help: "Not after this time (RFC 3339, UTC).")
    var until: String?

    func filter() throws -> LeafFilter {
        var filter = LeafFilter()
        filter.type = self.type
        filter.spiffeID = self.spiffeID
        filter.serial = self.serial
        filter.jti = self.jti
        filter.entryID = self.entryID
        filter.node = self.node
        filter.caller = self.caller
        filter.transaction = self.txn
        filter.since = try Self.time(self.since, "--since")
        filter.until = try Self.time(self.until, "--until")
        return filter
    }

    private static func time(_ text: String?, _ name: String) throws -> LeafTime? {
        guard let text else { return nil }
        guard let time = LeafTime(parsing: text) else {
            throw LaptopError(
                message: "\(name) \(TransparencyError.quoted(text.utf8)) is no time",
                hints: ["write it as 2026-01-31T13:45:00Z"])
        }
        return time
    }
}

/// What these commands print.
enum LedgerOutput {
    static func line(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }
    static func note(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

    /// A leaf as it is, except for what could move a terminal's cursor; one that is no JSON in quotes.
    static func text(_ leaf: some Collection<UInt8>) -> String {
        guard (try? Leaf(parsing: Array(leaf))) != nil else {
            return TransparencyError.quoted(leaf)
        }
        var text = ""
        for scalar in String(decoding: leaf, as: UTF8.self).unicodeScalars {
            if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) {
                text += "\\u00" + Hex.encode([UInt8(scalar.value)])
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    static func cosignatures(_ cosignatures: [(key: VerifierKey, time: UInt64)]) {
        for (key, time) in cosignatures {
            let time = LeafTime(seconds: Int64(clamping: time))
            self.line("cosigned by \(key.name) at \(time)")
        }
    }

    /// Runs a check; what does not hold becomes the message of the command.
    static func reporting<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let fault as LogFault {
            throw LaptopError(message: "the ledger does not hold: \(fault)")
        } catch let error as TransparencyError {
            throw LaptopError(message: error.message)
        } catch let error as ServerError {
            throw LaptopError(message: error.message)
        }
    }
}
