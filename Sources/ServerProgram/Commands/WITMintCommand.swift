import ArgumentParser
import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServiceRuntime
import SwiftProtobuf

struct WITCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wit", abstract: "WIT-SVIDs (incubating).", subcommands: [WITMintCommand.self],
        helpNames: .goHelp)
}

struct WITMintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mint", abstract: "Mint a WIT-SVID with a new key.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("spiffeID"), parsing: .unconditional, help: "SPIFFE ID of the WIT-SVID.")
    var spiffeID = ""

    @Option(
        name: .go("keyType"), parsing: .unconditional,
        help: "Kind of the new key: ec-p256, ec-p384, rsa-2048 or rsa-4096.")
    var keyType = "ec-p256"

    @Option(
        name: .go("signingAlgorithm"), parsing: .unconditional,
        help: "What the key signs proofs with, such as ES256 or PS256.")
    var signingAlgorithm = "ES256"

    @Option(name: .go("ttl"), parsing: .unconditional, help: "Life of the WIT-SVID, such as 1h30m.")
    var ttl = DurationArgument(.zero)

    @Option(
        name: .go("write"), parsing: .unconditional, help: "Directory for files instead of output.")
    var write = ""

    func run() async throws {
        if self.spiffeID.isEmpty { throw CommandError("spiffeID must be specified") }
        var request = Spire_Api_Server_Svid_V1_MintWITSVIDRequest()
        request.id = try .parse(self.spiffeID, flag: "spiffeID")
        let key = try WITMintCommand.key(type: self.keyType, algorithm: self.signingAlgorithm)
        request.publicKey = .init(key.confirmationKey.publicKey.publicKeyDER)
        request.signingAlgorithm = self.signingAlgorithm
        request.ttl = self.ttl.wholeSeconds
        let svid = try await ServerConnection.with(self.socket) { [request] server in
            try await server.svids.mintWITSVID(request, options: ServerConnection.options).svid
        }
        guard !svid.token.isEmpty else { throw CommandError("server response missing token") }
        let context = CommandContext.current
        if request.ttl > 0, svid.expiresAt - svid.issuedAt < Int64(request.ttl) {
            context.printError(
                "WIT-SVID lifetime was capped shorter than specified ttl; expires "
                    + QuotedText.quoted(GoTime.utc(svid.expiresAt)))
        }
        let privateKey = try key.privateJWK()
        if !self.write.isEmpty {
            for (name, what, text) in [
                ("token", "WIT-SVID", svid.token), ("key", "Private key", privateKey),
            ] {
                let path = self.write + "/" + name
                try AtomicFile.write(text.utf8, to: path, mode: 0o600)
                context.print("\(what) written to \(path)")
            }
        } else if self.output.format == .json {
            context.print(try WITMintCommand.json(privateKey: privateKey, svid: svid))
        } else {
            context.print(TerminalText.safe(svid.token))
            context.print(privateKey)
        }
    }

    /// Makes the key, when the algorithm is one that its kind can do.
    static func key(type: String, algorithm name: String) throws -> ProofKey {
        guard let algorithm = JWSAlgorithm(rawValue: name) else {
            throw CommandError("unsupported signing algorithm: \(TerminalText.safe(name))")
        }
        switch (type, algorithm) {
        case ("ec-p256", .es256), ("ec-p384", .es384):
            return try ProofKey(generatingFor: algorithm)
        case ("rsa-2048", .rs256), ("rsa-2048", .rs384), ("rsa-2048", .rs512),
            ("rsa-2048", .ps256), ("rsa-2048", .ps384), ("rsa-2048", .ps512):
            return try ProofKey(generatingRSAKeyOf: 2048, for: algorithm)
        case ("rsa-4096", .rs256), ("rsa-4096", .rs384), ("rsa-4096", .rs512),
            ("rsa-4096", .ps256), ("rsa-4096", .ps384), ("rsa-4096", .ps512):
            return try ProofKey(generatingRSAKeyOf: 4096, for: algorithm)
        default:
            throw CommandError(
                "unsupported key type \(QuotedText.quoted(type)) for signing algorithm \(name); "
                    + "ES256 goes with ec-p256, ES384 with ec-p384, RS and PS with rsa-2048 and rsa-4096"
            )
        }
    }

    /// `{"private_key":…,"svid":{…}}` with the private JWK as text.
    static func json(privateKey: String, svid: Spire_Api_Types_WITSVID) throws -> String {
        let text = String(decoding: JSONValue.string(privateKey).serialized(), as: UTF8.self)
        let message = try CommandContext.json(svid)
        return "{\"private_key\":\(text),\"svid\":\(message)}"
    }
}
