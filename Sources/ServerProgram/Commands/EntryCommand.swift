import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct EntryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "entry", abstract: "Registration entries.",
        subcommands: [
            EntryCountCommand.self, EntryCreateCommand.self, EntryDeleteCommand.self,
            EntryShowCommand.self, EntryUpdateCommand.self,
        ],
        helpNames: .goHelp)
}

struct EntryCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Create registration entries.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var flags: EntryFlags

    @Flag(name: .go("node"), help: "The entry is a node alias: its parent is the server.")
    var node = false

    func run() async throws {
        let inputs = try self.flags.inputs(isNode: self.node, needsID: false)
        let request = Spire_Api_Server_Entry_V1_BatchCreateEntryRequest.with {
            $0.entries = inputs.map { $0.entryForCreation }
        }
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.entries.batchCreateEntry(request, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        var failed = false
        for (index, result) in response.results.enumerated() {
            if result.status.code == 0 {
                context.output(EntryBlock.text(result.entry))
            } else {
                failed = true
                // AlreadyExists brings the entry that is there; other failures bring none.
                let entry = index < request.entries.count ? request.entries[index] : result.entry
                context.errorOutput(EntryBlock.failure("create", result.status, entry))
            }
        }
        if failed { throw CommandError("failed to create one or more entries") }
    }
}

struct EntryUpdateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update", abstract: "Replace registration entries.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var flags: EntryFlags

    func run() async throws {
        let inputs = try self.flags.inputs(isNode: false, needsID: true)
        let (entries, response) = try await ServerConnection.with(self.socket) { server in
            var entries: [Spire_Api_Types_Entry] = []
            for input in inputs {
                let current = try await EntryUpdateCommand.attributes(of: input.entry.id, server)
                entries.append(input.entryForUpdate(current))
            }
            var request = Spire_Api_Server_Entry_V1_BatchUpdateEntryRequest()
            request.entries = entries
            let response = try await server.entries.batchUpdateEntry(
                request, options: ServerConnection.options)
            return (entries, response)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        var failed = false
        for (index, result) in response.results.enumerated() {
            if result.status.code == 0 {
                context.output(EntryBlock.text(result.entry))
            } else {
                failed = true
                let entry = index < entries.count ? entries[index] : result.entry
                context.errorOutput(EntryBlock.failure("update", result.status, entry))
            }
        }
        if failed { throw CommandError("failed to update one or more entries") }
    }

    /// The additional attributes that the server has, which an update keeps where it does not name them.
    private static func attributes(
        of id: String, _ server: ServerConnection
    ) async throws -> Spire_Api_Types_Entry.AdditionalAttributes? {
        var request = Spire_Api_Server_Entry_V1_GetEntryRequest()
        request.id = id
        request.outputMask.additionalAttributes = true
        do {
            let entry = try await server.entries.getEntry(
                request, options: ServerConnection.options)
            return entry.hasAdditionalAttributes ? entry.additionalAttributes : nil
        } catch let error as RPCError where error.code == .notFound {
            return nil  // The update itself reports it for this entry and still updates the others.
        }
    }
}

struct EntryDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete registration entries.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("entryID"), parsing: .unconditional, help: "The entry to delete.")
    var entryID = ""

    @Option(
        name: .go("file"), parsing: .unconditional,
        help: "JSON file with {\"ids\": […]}, or - for standard input.")
    var file = ""

    @OptionGroup var revoke: RevokeFlags

    func run() async throws {
        let request = try Spire_Api_Server_Entry_V1_BatchDeleteEntryRequest.with {
            $0.ids = try self.identifiers()
        }
        let revoke = self.revoke
        let response = try await ServerConnection.with(self.socket) { server in
            let response = try await server.entries.batchDeleteEntry(
                request, options: ServerConnection.options)
            let deleted = response.results.filter { $0.status.code == 0 }.map(\.id)
            try await RevokeFlags.create(
                revoke.isOn ? deleted.map { revoke.request(entryID: $0) } : [], server)
            return response
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        let deleted = response.results.filter { $0.status.code == 0 }
        let failed = response.results.filter { $0.status.code != 0 }
        for result in deleted {
            context.print("Deleted entry with ID: \(TerminalText.safe(result.id))")
        }
        for result in failed {
            context.printError(
                "Failed to delete entry with ID \(TerminalText.safe(result.id)) "
                    + EntryBlock.reason(result.status))
        }
        context.print("")
        context.print("Successfully deleted: \(deleted.count)")
        context.print("Failed to delete: \(failed.count)")
        if !failed.isEmpty { throw CommandError("failed to delete one or more entries") }
    }

    private func identifiers() throws -> [String] {
        switch (self.entryID.isEmpty, self.file.isEmpty) {
        case (true, true):
            throw CommandError(
                "an entry ID is required",
                hints: ["cygnet-server entry delete -entryID <id>", "cygnet-server entry show"])
        case (false, false):
            throw CommandError("-entryID and -file exclude each other")
        case (false, true):
            return [self.entryID]
        case (true, false):
            let document = try InputFile.document(self.file)
            var root = try document.section()
            guard let ids = try root.strings("ids") else {
                throw root.missing("ids", "expected {\"ids\": [\"…\"]}")
            }
            try root.finish()
            return ids
        }
    }
}
