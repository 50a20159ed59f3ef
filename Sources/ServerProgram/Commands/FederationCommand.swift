import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct FederationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "federation", abstract: "Relationships with other trust domains.",
        subcommands: [
            FederationAcceptCommand.self, FederationCreateCommand.self,
            FederationDeleteCommand.self, FederationInviteCommand.self,
            FederationLimitsCommand.self, FederationListCommand.self, FederationRefreshCommand.self,
            FederationShowCommand.self,
            FederationStatusCommand.self, FederationUpdateCommand.self,
        ],
        helpNames: .goHelp)
}

struct FederationCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Create federation relationships.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var flags: RelationshipFlags

    func run() async throws {
        let relationships = try self.flags.relationships()
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.trustDomains.batchCreateFederationRelationship(
                .with { $0.federationRelationships = relationships },
                options: ServerConnection.options)
        }
        if self.output.format == .json { return try CommandContext.current.printJSON(response) }
        try RelationshipBlock.report(
            "create", response.results.map { ($0.status, $0.federationRelationship) },
            asked: relationships)
    }
}

struct FederationUpdateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update", abstract: "Replace federation relationships.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var flags: RelationshipFlags

    func run() async throws {
        let relationships = try self.flags.relationships()
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.trustDomains.batchUpdateFederationRelationship(
                .with { $0.federationRelationships = relationships },
                options: ServerConnection.options)
        }
        if self.output.format == .json { return try CommandContext.current.printJSON(response) }
        try RelationshipBlock.report(
            "update", response.results.map { ($0.status, $0.federationRelationship) },
            asked: relationships)
    }
}

struct FederationListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List federation relationships.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let found = try await ServerConnection.with(self.socket) { server in
            var request = Spire_Api_Server_Trustdomain_V1_ListFederationRelationshipsRequest()
            // A page must fit into one message, however large the bundles are.
            request.pageSize = 20
            return try await ServerConnection.allPages { token in
                request.pageToken = token
                let page = try await server.trustDomains.listFederationRelationships(
                    request, options: ServerConnection.options)
                return (page.federationRelationships, page.nextPageToken)
            }
        }
        let context = CommandContext.current
        if self.output.format == .json {
            return try context.printJSON(
                Spire_Api_Server_Trustdomain_V1_ListFederationRelationshipsResponse.with {
                    $0.federationRelationships = found
                })
        }
        context.print(
            "Found "
                + TerminalText.counted(
                    found.count, "federation relationship", "federation relationships"))
        for relationship in found { context.output("\n" + RelationshipBlock.text(relationship)) }
    }
}

struct FederationShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one federation relationship.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("trustDomain"), parsing: .unconditional, help: "The partner's trust domain.")
    var trustDomain = ""

    func run() async throws {
        let name = try PartnerName.required(self.trustDomain)
        let found = try await ServerConnection.with(self.socket) { server in
            try await server.trustDomains.getFederationRelationship(
                .with { $0.trustDomain = name }, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(found) }
        context.print(
            "Found a federation relationship with trust domain \(TerminalText.safe(found.trustDomain)):\n"
        )
        context.output(RelationshipBlock.text(found))
    }
}

struct FederationDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "End a federation relationship; the partner's bundle goes with it.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("id"), parsing: .unconditional, help: "The partner's trust domain.")
    var id = ""

    func run() async throws {
        let name = try PartnerName.required(self.id)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.trustDomains.batchDeleteFederationRelationship(
                .with { $0.trustDomains = [name] }, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        guard let status = response.results.first?.status else {
            throw CommandError("the server did not say what became of the relationship")
        }
        guard status.code == 0 else {
            throw CommandError(
                "failed to delete federation relationship \(QuotedText.quoted(name)): "
                    + TerminalText.safe(status.message))
        }
        context.print("federation relationship deleted.")
    }
}

struct FederationRefreshCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "refresh", abstract: "Fetch the bundle of a partner now.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("id"), parsing: .unconditional, help: "The partner's trust domain.")
    var id = ""

    func run() async throws {
        let name = try PartnerName.required(self.id)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.trustDomains.refreshBundle(
                .with { $0.trustDomain = name }, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print("Bundle refreshed")
    }
}

/// The flag that names a partner.
enum PartnerName {
    static func required(_ name: String) throws(CommandError) -> String {
        guard name.isEmpty else { return name }
        throw CommandError(
            "a trust domain is required", hints: ["find it: cygnet-server federation list"])
    }
}
