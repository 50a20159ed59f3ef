import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct RevocationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revocation", abstract: "Identities that are taken back.",
        subcommands: [
            RevocationCreateCommand.self, RevocationLiftCommand.self, RevocationListCommand.self,
            RevocationShowCommand.self,
        ],
        helpNames: .goHelp)
}

struct RevocationCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Take identities back.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: RevocationTargetFlags

    @Option(
        name: .go("serial"), parsing: .unconditional, help: "Serial number of an X509-SVID, in hex."
    )
    var serial = ""

    @Option(name: .go("jti"), parsing: .unconditional, help: "The jti of a JWT- or WIT-SVID.")
    var jti = ""

    @Option(
        name: .go("authorityID"), parsing: .unconditional,
        help: "Everything that the authority with this ID signs.")
    var authorityID = ""

    @Flag(name: .go("andChildren"), help: "Also what descends from the target.")
    var andChildren = false

    @Flag(name: .go("suspend"), help: "It can be lifted.")
    var suspend = false

    @Flag(name: .go("replace"), help: "Only what is issued by now is hit; fresh SVIDs are issued.")
    var replace = false

    @Option(name: .go("reason"), parsing: .unconditional, help: "Why, for the record.")
    var reason = ""

    @Option(
        name: .go("expiry"), parsing: .unconditional,
        help: "When it ends by itself: Unix seconds, or a duration from now such as 12h.")
    var expiry = ""

    @Flag(name: .go("dryRun"), help: "Only say what would be hit.")
    var dryRun = false

    func run() async throws {
        let request = try self.request(now: GoTime.now)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.revocations.createRevocation(
                request, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        if self.dryRun {
            context.print("Nothing was revoked. It would hit:\n")
        } else {
            context.print("Revocation created\n")
            context.output(RevocationBlock.text(response.revocation))
            context.print("\nIt hit:\n")
        }
        context.output(RevocationBlock.text(response.hits))
    }

    /// - Parameter now: Unix seconds.
    func request(now: Int64) throws(CommandError) -> Cygnet_Revocation_V1_CreateRevocationRequest {
        var targets = try self.target.targets()
        if !self.serial.isEmpty {
            targets.append(.with { $0.serial = SerialText.normal(self.serial) })
        }
        if !self.jti.isEmpty { targets.append(.with { $0.jti = self.jti }) }
        if !self.authorityID.isEmpty { targets.append(.with { $0.authorityID = self.authorityID }) }
        if self.suspend && self.replace {
            throw CommandError("-suspend and -replace exclude each other")
        }
        var request = Cygnet_Revocation_V1_CreateRevocationRequest()
        request.target = try RevocationTargetFlags.one(
            targets,
            of: "-spiffeID, -pathPrefix, -entryID, -serial, -jti, -agentID, -selector, -authorityID"
        )
        request.andChildren = self.andChildren
        request.suspension = self.suspend
        request.replace = self.replace
        request.reason = self.reason
        request.expiresAt = try ExpiryText.parse(self.expiry, now: now)
        request.dryRun = self.dryRun
        return request
    }
}

/// The flag `-id` where a revocation must be named.
struct RevocationIDFlag: ParsableArguments {
    @Option(name: .go("id"), parsing: .unconditional, help: "ID of the revocation.")
    var id = ""

    /// The ID.
    func value() throws(CommandError) -> String {
        guard self.id.isEmpty else { return self.id }
        throw CommandError(
            "a revocation ID is required", hints: ["find it: cygnet-server revocation list"])
    }
}

struct RevocationLiftCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lift", abstract: "End a suspension.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: RevocationIDFlag

    @Option(name: .go("reason"), parsing: .unconditional, help: "Why, for the record.")
    var reason = ""

    func run() async throws {
        let id = try self.target.value()
        let reason = self.reason
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.revocations.liftRevocation(
                .with {
                    $0.id = id
                    $0.reason = reason
                }, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print("Revocation lifted\n")
        context.output(RevocationBlock.text(response.revocation))
    }
}

struct RevocationShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one revocation.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: RevocationIDFlag

    func run() async throws {
        let id = try self.target.value()
        let revocation = try await ServerConnection.with(self.socket) { server in
            try await server.revocations.getRevocation(
                .with { $0.id = id }, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(revocation) }
        context.output(RevocationBlock.text(revocation))
    }
}

struct RevocationListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the revocations that have not ended.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let revocations = try await ServerConnection.with(self.socket) { server in
            var request = Cygnet_Revocation_V1_ListRevocationsRequest()
            return try await ServerConnection.allPages { token in
                request.pageToken = token
                let page = try await server.revocations.listRevocations(
                    request, options: ServerConnection.options)
                return (page.revocations, page.nextPageToken)
            }
        }
        let context = CommandContext.current
        if self.output.format == .json {
            return try context.printJSON(
                Cygnet_Revocation_V1_ListRevocationsResponse.with { $0.revocations = revocations })
        }
        if revocations.isEmpty { return context.print("No revocations found") }
        context.print(
            "Found " + TerminalText.counted(revocations.count, "revocation", "revocations"))
        for revocation in revocations { context.output("\n" + RevocationBlock.text(revocation)) }
    }
}
