import ArgumentParser
import GRPCCore
import ServiceRuntime
import SwiftProtobuf
import WorkloadAPIProto

struct FetchJWTCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jwt", abstract: "Fetch JWT-SVIDs and bundles.", helpNames: .goHelp)

    @OptionGroup var socket: AgentSocketFlags
    @OptionGroup var timeout: TimeoutFlag

    @Option(
        name: .go("audience"), parsing: .unconditional, help: "Audiences, separated by commas.")
    var audience = ""

    @Option(
        name: .go("spiffeID"), parsing: .unconditional,
        help: "Which identity; all of this workload when left out.")
    var spiffeID = ""

    @Option(
        name: [
            .customLong("output", withSingleDash: true), .customLong("output"),
            .customLong("format", withSingleDash: true), .customLong("format"),
        ],
        parsing: .unconditional, help: "pretty or json.")
    var output = OutputFormat.pretty

    func run() async throws {
        let audience = self.audience.split(separator: ",").map(String.init).filter { !$0.isEmpty }
        if audience.isEmpty {
            throw CommandError("audience must be specified", hints: ["add -audience <name>"])
        }
        let request = JWTSVIDRequest.with {
            $0.audience = audience
            $0.spiffeID = self.spiffeID
        }
        let options = WorkloadConnection.options(timeout: self.timeout.timeout.duration)
        let (tokens, bundles) = try await WorkloadConnection.with(self.socket) { agent in
            let bundles = try await agent.workload.fetchJWTBundles(
                JWTBundlesRequest(), metadata: WorkloadConnection.metadata, options: options
            ) { response in
                for try await message in response.messages { return message }
                throw RPCError(code: .unavailable, message: "the stream ended without a message")
            }
            let tokens = try await agent.workload.fetchJWTSVID(
                request, metadata: WorkloadConnection.metadata, options: options)
            return (tokens, bundles)
        }
        let context = CommandContext.current
        if self.output == .json {
            return context.print("[\(try tokens.jsonLine()),\(try bundles.jsonLine())]")
        }
        for svid in tokens.svids {
            context.print("token(\(TerminalText.safe(svid.spiffeID))):")
            if !svid.hint.isEmpty { context.print("\thint: \(TerminalText.safe(svid.hint))") }
            context.print("\t\(TerminalText.safe(svid.svid))")
        }
        for (trustDomain, keys) in bundles.bundles.sorted(by: { $0.key < $1.key }) {
            context.print("bundle(\(TerminalText.safe(trustDomain))):")
            context.print("\t\(TerminalText.safe(String(decoding: keys, as: UTF8.self)))")
        }
    }
}

struct ValidateJWTCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jwt", abstract: "Ask the agent whether a JWT-SVID is valid.",
        helpNames: .goHelp)

    @OptionGroup var socket: AgentSocketFlags
    @OptionGroup var timeout: TimeoutFlag

    @Option(name: .go("audience"), parsing: .unconditional, help: "The audience to expect.")
    var audience = ""

    @Option(name: .go("svid"), parsing: .unconditional, help: "The JWT-SVID.")
    var svid = ""

    @Option(name: .go("output"), parsing: .unconditional, help: "pretty or json.")
    var output = OutputFormat.pretty

    func run() async throws {
        if self.audience.isEmpty {
            throw CommandError("audience must be specified", hints: ["add -audience <name>"])
        }
        if self.svid.isEmpty {
            throw CommandError(
                "svid must be specified", hints: ["cygnet-agent api fetch jwt -audience <name>"])
        }
        let request = ValidateJWTSVIDRequest.with {
            $0.audience = self.audience
            $0.svid = self.svid
        }
        let options = WorkloadConnection.options(timeout: self.timeout.timeout.duration)
        let response = try await WorkloadConnection.with(self.socket) { agent in
            do {
                return try await agent.workload.validateJWTSVID(
                    request, metadata: WorkloadConnection.metadata, options: options)
            } catch let error as RPCError where error.code == .invalidArgument {
                throw CommandError("SVID is not valid: \(TerminalText.safe(error.message))")
            }
        }
        let context = CommandContext.current
        if self.output == .json { return context.print(try response.jsonLine()) }
        context.print("SVID is valid.")
        context.print("SPIFFE ID : \(TerminalText.safe(response.spiffeID))")
        let claims = Array(try response.claims.jsonString().utf8)
        context.print(
            "Claims    : \(TerminalText.safe(try MessageShape.empty.complete(json: claims)))")
    }
}
