import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime

/// `localauthority x509`, `jwt` or `wit`.
struct LocalAuthoritiesCommand<Authorities: LocalAuthorityKind>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: Authorities.commandName,
            abstract: "Authorities for \(Authorities.signed).",
            subcommands: [
                LocalAuthorityActivateCommand<Authorities>.self,
                LocalAuthorityPrepareCommand<Authorities>.self,
                LocalAuthorityRevokeCommand<Authorities>.self,
                LocalAuthorityShowCommand<Authorities>.self,
                LocalAuthorityTaintCommand<Authorities>.self,
            ],
            helpNames: .goHelp)
    }
}

struct LocalAuthorityShowCommand<Authorities: LocalAuthorityKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "show",
            abstract: "Show the \(Authorities.noun) that signs, the next and the last.",
            helpNames: .goHelp)
    }

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let answer = try await ServerConnection.with(self.socket) { server in
            try await Authorities.show(server)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(answer.message) }
        context.output(
            answer.state.map { word, state in
                AuthorityBlock.text(word, Authorities.kind, state)
            }.joined(separator: "\n"))
    }
}

struct LocalAuthorityPrepareCommand<Authorities: LocalAuthorityKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "prepare",
            abstract:
                "Make a new \(Authorities.noun) and put it into the bundle; it does not sign yet.",
            helpNames: .goHelp)
    }

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let answer = try await ServerConnection.with(self.socket) { server in
            try await Authorities.prepare(server)
        }
        try CommandContext.current.print(answer, "Prepared", Authorities.kind, self.output)
    }
}

struct LocalAuthorityActivateCommand<Authorities: LocalAuthorityKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "activate",
            abstract: "Let the prepared \(Authorities.noun) sign.",
            helpNames: .goHelp)
    }

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(Authorities.kind)
        let answer = try await ServerConnection.with(self.socket) { server in
            try await Authorities.activate(id, server)
        }
        try CommandContext.current.print(answer, "Activated", Authorities.kind, self.output)
    }
}

struct LocalAuthorityTaintCommand<Authorities: LocalAuthorityKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "taint",
            abstract: "Mark an old \(Authorities.noun), so that what it signed is replaced.",
            helpNames: .goHelp)
    }

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(Authorities.kind)
        let answer = try await ServerConnection.with(self.socket) { server in
            try await Authorities.taint(id, server)
        }
        try CommandContext.current.print(answer, "Tainted", Authorities.kind, self.output)
    }
}

struct LocalAuthorityRevokeCommand<Authorities: LocalAuthorityKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "revoke",
            abstract: "Take a tainted \(Authorities.noun) out of the bundle.",
            helpNames: .goHelp)
    }

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(Authorities.kind)
        let answer = try await ServerConnection.with(self.socket) { server in
            try await Authorities.revoke(id, server)
        }
        try CommandContext.current.print(answer, "Revoked", Authorities.kind, self.output)
    }
}
