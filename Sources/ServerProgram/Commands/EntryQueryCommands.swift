import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

/// The filters of `entry show` and `entry count`.
struct EntryFilterFlags: ParsableArguments {
    @Option(name: .go("parentID"), parsing: .unconditional, help: "Entries with this parent.")
    var parentID = ""

    @Option(name: .go("spiffeID"), parsing: .unconditional, help: "Entries with this SPIFFE ID.")
    var spiffeID = ""

    @Option(
        name: .go("selector"), parsing: .unconditionalSingleValue,
        help: "Entries with this selector, type:value; may be repeated.")
    var selectors: [String] = []

    @Option(
        name: .go("matchSelectorsOn"), parsing: .unconditional,
        help: "How selectors compare: exact, any, superset or subset.")
    var matchSelectorsOn = SetMatch.superset

    @Option(
        name: .go("federatesWith"), parsing: .unconditionalSingleValue,
        help: "Entries that federate with this trust domain; may be repeated.")
    var federatesWith: [String] = []

    @Option(
        name: .go("matchFederatesWithOn"), parsing: .unconditional,
        help: "How trust domains compare: exact, any, superset or subset.")
    var matchFederatesWithOn = SetMatch.superset

    @Flag(name: .go("downstream"), help: "Only entries of downstream servers.")
    var downstream = false

    @Option(name: .go("hint"), parsing: .unconditional, help: "Entries with this hint.")
    var hint = ""

    /// The filter, or nil when no flag is given.
    func filter() throws(CommandError) -> Spire_Api_Server_Entry_V1_ListEntriesRequest.Filter? {
        var filter = Spire_Api_Server_Entry_V1_ListEntriesRequest.Filter()
        if !self.parentID.isEmpty {
            filter.byParentID = try .parse(self.parentID, flag: "parentID")
        }
        if !self.spiffeID.isEmpty {
            filter.bySpiffeID = try .parse(self.spiffeID, flag: "spiffeID")
        }
        if !self.selectors.isEmpty {
            filter.bySelectors = try Spire_Api_Types_SelectorMatch(
                self.selectors, self.matchSelectorsOn)
        }
        if !self.federatesWith.isEmpty {
            filter.byFederatesWith = Spire_Api_Types_FederatesWithMatch(
                self.federatesWith, self.matchFederatesWithOn)
        }
        if self.downstream { filter.byDownstream = Google_Protobuf_BoolValue(true) }
        if !self.hint.isEmpty { filter.byHint = Google_Protobuf_StringValue(self.hint) }
        return filter == .init() ? nil : filter
    }
}

struct EntryShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show registration entries.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var filters: EntryFilterFlags

    @Option(name: .go("entryID"), parsing: .unconditional, help: "Only this entry.")
    var entryID = ""

    func run() async throws {
        let filters = self.filters
        let excluded =
            !filters.parentID.isEmpty || !filters.spiffeID.isEmpty || !filters.selectors.isEmpty
        if !self.entryID.isEmpty, excluded {
            throw CommandError("the -entryID flag can't be combined with others")
        }
        let id = self.entryID
        let filter = try filters.filter()
        var entries = try await ServerConnection.with(self.socket) { server in
            if !id.isEmpty {
                var request = Spire_Api_Server_Entry_V1_GetEntryRequest()
                request.id = id
                return [
                    try await server.entries.getEntry(request, options: ServerConnection.options)
                ]
            }
            return try await EntryShowCommand.list(filter, server)
        }
        entries.sort {
            EntryShowCommand.sortKey($0).lexicographicallyPrecedes(EntryShowCommand.sortKey($1))
        }
        let context = CommandContext.current
        if self.output.format == .json {
            return try context.printJSON(
                Spire_Api_Server_Entry_V1_ListEntriesResponse.with { $0.entries = entries })
        }
        context.print("Found " + TerminalText.counted(entries.count, "entry", "entries"))
        for entry in entries { context.output(EntryBlock.text(entry)) }
    }

    private static func sortKey(_ entry: Spire_Api_Types_Entry) -> [String] {
        [entry.spiffeID.text, entry.parentID.text] + entry.selectors.map(\.text) + [entry.id]
    }

    private static func list(
        _ filter: Spire_Api_Server_Entry_V1_ListEntriesRequest.Filter?, _ server: ServerConnection
    ) async throws -> [Spire_Api_Types_Entry] {
        var request = Spire_Api_Server_Entry_V1_ListEntriesRequest()
        if let filter { request.filter = filter }
        request.pageSize = 500
        return try await ServerConnection.allPages { token in
            request.pageToken = token
            let page = try await server.entries.listEntries(
                request, options: ServerConnection.options)
            return (page.entries, page.nextPageToken)
        }
    }
}

struct EntryCountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "count", abstract: "Count registration entries.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var filters: EntryFilterFlags

    func run() async throws {
        let filter = try self.filters.filter()
        let request = Spire_Api_Server_Entry_V1_CountEntriesRequest.with { request in
            guard let filter else { return }
            if filter.hasByParentID { request.filter.byParentID = filter.byParentID }
            if filter.hasBySpiffeID { request.filter.bySpiffeID = filter.bySpiffeID }
            if filter.hasBySelectors { request.filter.bySelectors = filter.bySelectors }
            if filter.hasByFederatesWith { request.filter.byFederatesWith = filter.byFederatesWith }
            if filter.hasByDownstream { request.filter.byDownstream = filter.byDownstream }
            if filter.hasByHint { request.filter.byHint = filter.byHint }
        }
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.entries.countEntries(request, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print(
            TerminalText.counted(Int(response.count), "registration entry", "registration entries"))
    }
}
