import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftASN1
import SwiftProtobuf

struct BundleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bundle", abstract: "Bundles of trust domains.",
        subcommands: [
            BundleCountCommand.self, BundleDeleteCommand.self, BundleListCommand.self,
            BundleSetCommand.self, BundleShowCommand.self,
        ],
        helpNames: .goHelp)
}

/// How a bundle is written in text mode.
enum BundleTextFormat: String, CaseIterable, ExpressibleByArgument, Sendable {
    case pem, spiffe

    /// Prints the bundle; as PEM its X.509 authorities only.
    func print(_ bundle: Spire_Api_Types_Bundle, _ context: CommandContext) throws {
        switch self {
        case .pem:
            for authority in bundle.x509Authorities {
                context.print(PEMText.certificate(Array(authority.asn1)))
            }
        case .spiffe:
            context.print(try SPIFFEBundleText.json(bundle))
        }
    }
}

struct BundleShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Print the bundle of the server's trust domain.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("format"), parsing: .unconditional, help: "pem or spiffe.")
    var format = BundleTextFormat.pem

    func run() async throws {
        let bundle = try await ServerConnection.with(self.socket) { server in
            try await server.bundles.getBundle(
                Spire_Api_Server_Bundle_V1_GetBundleRequest(), options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(bundle) }
        try self.format.print(bundle, context)
    }
}

struct BundleCountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "count", abstract: "Count bundles, the server's own included.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.bundles.countBundles(
                Spire_Api_Server_Bundle_V1_CountBundlesRequest(), options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print(TerminalText.counted(Int(response.count), "bundle", "bundles"))
    }
}

/// DER as PEM.
enum PEMText {
    /// A certificate, without line break at the end.
    static func certificate(_ der: [UInt8]) -> String {
        PEMDocument(type: "CERTIFICATE", derBytes: der).pemString
    }

    /// A private key in PKCS#8, without line break at the end.
    static func privateKey(_ der: [UInt8]) -> String {
        PEMDocument(type: "PRIVATE KEY", derBytes: der).pemString
    }
}
