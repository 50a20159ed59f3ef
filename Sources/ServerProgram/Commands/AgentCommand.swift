import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct AgentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent", abstract: "Attested nodes.",
        subcommands: [
            AgentBanCommand.self, AgentCountCommand.self, AgentEvictCommand.self,
            AgentListCommand.self, AgentPurgeCommand.self, AgentShowCommand.self,
        ],
        helpNames: .goHelp)
}

/// The filters of `agent list` and `agent count`.
struct AgentFilterFlags: ParsableArguments {
    @Option(
        name: .go("selector"), parsing: .unconditionalSingleValue,
        help: "Agents with this selector, type:value; may be repeated.")
    var selectors: [String] = []

    @Option(
        name: .go("matchSelectorsOn"), parsing: .unconditional,
        help: "How selectors compare: exact, any, superset or subset.")
    var matchSelectorsOn = SetMatch.superset

    @Option(
        name: .go("attestationType"), parsing: .unconditional, help: "Agents attested in this way.")
    var attestationType = ""

    @Option(
        name: .go("canReattest"), parsing: .unconditional,
        help: "true: agents that can re-attest; false: those that cannot; other values: all.")
    var canReattest = ""

    @Option(
        name: .go("banned"), parsing: .unconditional,
        help: "true: banned agents; false: those not banned; other values: all.")
    var banned = ""

    @Option(
        name: .go("expiresBefore"), parsing: .unconditional,
        help: "Agents that expire before, such as \"2006-01-02 15:04:05 -0700 -07\".")
    var expiresBefore = ""

    /// The filter, or nil when no flag is given.
    func filter() throws -> Spire_Api_Server_Agent_V1_ListAgentsRequest.Filter? {
        var filter = Spire_Api_Server_Agent_V1_ListAgentsRequest.Filter()
        if !self.selectors.isEmpty {
            filter.bySelectorMatch = try Spire_Api_Types_SelectorMatch(
                self.selectors, self.matchSelectorsOn)
        }
        filter.byAttestationType = self.attestationType
        if let value = Bool(self.canReattest) {
            filter.byCanReattest = Google_Protobuf_BoolValue(value)
        }
        if let value = Bool(self.banned) { filter.byBanned = Google_Protobuf_BoolValue(value) }
        if !self.expiresBefore.isEmpty {
            guard GoTime.isFilterTime(self.expiresBefore) else {
                throw CommandError(
                    "-expiresBefore \(QuotedText.quoted(self.expiresBefore)) is no time; expected a form "
                        + "such as \"2006-01-02 15:04:05 -0700 -07\"")
            }
            filter.byExpiresBefore = self.expiresBefore
        }
        return filter == .init() ? nil : filter
    }
}

struct AgentListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List attested agents.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var filters: AgentFilterFlags

    func run() async throws {
        let filter = try self.filters.filter()
        let agents = try await ServerConnection.with(self.socket) { server in
            try await AgentListCommand.list(filter, server)
        }
        try self.report(agents)
    }

    private func report(_ agents: [Spire_Api_Types_Agent]) throws {
        let context = CommandContext.current
        if self.output.format == .json {
            return try context.printJSON(
                Spire_Api_Server_Agent_V1_ListAgentsResponse.with { $0.agents = agents })
        }
        if agents.isEmpty { return context.print("No attested agents found") }
        context.print(
            "Found " + TerminalText.counted(agents.count, "attested agent", "attested agents")
                + ":\n")
        for agent in agents { context.output(AgentBlock.text(agent) + "\n") }
    }

    /// All agents that match, page by page.
    static func list(
        _ filter: Spire_Api_Server_Agent_V1_ListAgentsRequest.Filter?, _ server: ServerConnection
    ) async throws -> [Spire_Api_Types_Agent] {
        var request = Spire_Api_Server_Agent_V1_ListAgentsRequest()
        if let filter { request.filter = filter }
        request.pageSize = 1000
        return try await ServerConnection.allPages { token in
            request.pageToken = token
            let page = try await server.agents.listAgents(
                request, options: ServerConnection.options)
            return (page.agents, page.nextPageToken)
        }
    }
}

struct AgentCountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "count", abstract: "Count attested agents.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var filters: AgentFilterFlags

    func run() async throws {
        let filter = try self.filters.filter()
        let request = Spire_Api_Server_Agent_V1_CountAgentsRequest.with { request in
            guard let filter else { return }
            request.filter.byAttestationType = filter.byAttestationType
            request.filter.byExpiresBefore = filter.byExpiresBefore
            if filter.hasBySelectorMatch { request.filter.bySelectorMatch = filter.bySelectorMatch }
            if filter.hasByBanned { request.filter.byBanned = filter.byBanned }
            if filter.hasByCanReattest { request.filter.byCanReattest = filter.byCanReattest }
        }
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.agents.countAgents(request, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print(
            TerminalText.counted(Int(response.count), "attested agent", "attested agents"))
    }
}

struct AgentShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one attested agent.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AgentIDFlag

    func run() async throws {
        let request = try Spire_Api_Server_Agent_V1_GetAgentRequest.with {
            $0.id = try self.target.id()
        }
        let agent = try await ServerConnection.with(self.socket) { server in
            try await server.agents.getAgent(request, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(agent) }
        context.print("Found an attested agent given its SPIFFE ID\n")
        context.output(AgentBlock.text(agent))
        for selector in agent.selectors {
            context.print(TerminalText.field("Selectors", selector.text, width: 18))
        }
    }
}

/// The flag `-spiffeID` where an agent must be named.
struct AgentIDFlag: ParsableArguments {
    @Option(name: .go("spiffeID"), parsing: .unconditional, help: "The agent's SPIFFE ID.")
    var spiffeID = ""

    /// The ID.
    func id() throws(CommandError) -> Spire_Api_Types_SPIFFEID {
        if self.spiffeID.isEmpty {
            throw CommandError(
                "a SPIFFE ID is required", hints: ["find it: cygnet-server agent list"])
        }
        return try .parse(self.spiffeID, flag: "spiffeID")
    }
}

struct AgentBanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ban", abstract: "Refuse an agent until it is evicted.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AgentIDFlag
    @OptionGroup var revoke: RevokeFlags

    func run() async throws {
        let request = try Spire_Api_Server_Agent_V1_BanAgentRequest.with {
            $0.id = try self.target.id()
        }
        let revocation =
            self.revoke.isOn ? self.revoke.request(agent: request.id, reason: "agent banned") : nil
        let response = try await ServerConnection.with(self.socket) { server in
            // An agent that does not exist is refused before anything is revoked.
            let response = try await server.agents.banAgent(
                request, options: ServerConnection.options)
            try await RevokeFlags.create([revocation], server)
            return response
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print("Agent banned successfully")
    }
}

struct AgentEvictCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evict", abstract: "Forget an agent; it may attest again.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AgentIDFlag
    @OptionGroup var revoke: RevokeFlags

    func run() async throws {
        let request = try Spire_Api_Server_Agent_V1_DeleteAgentRequest.with {
            $0.id = try self.target.id()
        }
        let revocation =
            self.revoke.isOn
            ? self.revoke.request(agent: request.id, reason: "agent evicted") : nil
        let response = try await ServerConnection.with(self.socket) { server in
            let response = try await server.agents.deleteAgent(
                request, options: ServerConnection.options)
            try await RevokeFlags.create([revocation], server)
            return response
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print("Agent evicted successfully")
    }
}
