import ArgumentParser
import ControlPlaneProto
import Foundation
import GRPCCore
import SPIFFE
import ServerCore
import ServiceRuntime
import SwiftProtobuf

struct FederationAcceptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "accept",
        abstract: "Federate with the partner who made an invite, and show what is trusted.",
        helpNames: .goHelp)

    @Argument(help: "The invite, one line; - for standard input.")
    var line: String

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var limits: PartnerLimitsFlags

    @Flag(name: .go("dryRun"), help: "Only show what would be trusted.")
    var dryRun = false

    @Flag(name: .go("replace"), help: "Take the place of a relationship that exists.")
    var replace = false

    func run() async throws { try await self.run(endpoint: InvitingEndpoint()) }

    /// - Parameter endpoint: How the partner's endpoint is asked.
    func run(endpoint: InvitingEndpoint) async throws {
        let line = try self.parsed()
        let trustDomain = line.invite.trustDomain.name
        let limits = self.limits.isGiven ? try self.limits.limits(of: trustDomain) : nil
        let exists = try await ServerConnection.with(self.socket) { server in
            try await self.check(line.invite, server)
        }
        let (bundle, evidence) = try await endpoint.fetch(line.invite)
        let verified: VerifiedInvite
        do throws(InviteError) {
            verified = try await line.verify(bundle, from: evidence, now: Date())
        } catch {
            throw Self.refusal(error)
        }
        let context = CommandContext.current
        let isJSON = self.output.format == .json
        if !isJSON {
            context.output(
                InviteText.block(verified) + (limits.map(PartnerLimitsBlock.lines) ?? ""))
        }
        if self.dryRun {
            return isJSON
                ? context.print(InviteText.json(verified, result: "shown"))
                : context.print("\nNothing was changed.")
        }
        try await ServerConnection.with(self.socket) { server in
            let before = try await self.set(limits, server)
            let status = try await self.relate(verified, exists: exists, server)
            guard status.code == 0 else {
                throw await self.undo(
                    limits, before: before,
                    CommandError(
                        "failed to accept the invite of \(line.invite.trustDomain) \(EntryBlock.reason(status))"
                    ), server)
            }
        }
        if isJSON {
            return context.print(
                InviteText.json(verified, result: exists ? "updated" : "created"))
        }
        context.print(
            "\nThe bundle of \(trustDomain) is trusted by entries that federate with it.")
    }

    /// The invite, if it is whole and its time is not over.
    private func parsed() throws -> InviteLine {
        let text =
            self.line == "-"
            ? String(
                decoding: try BoundedFile.read("-", limit: InviteLine.maximumLength), as: UTF8.self)
            : self.line
        do throws(InviteError) {
            let line = try InviteLine(parsing: text)
            try line.invite.checkExpiry(now: Date())
            return line
        } catch {
            throw Self.refusal(error)
        }
    }

    /// Whether there is a relationship with the partner already.
    ///
    /// - Throws: ``CommandError`` when there may not be one.
    private func check(_ invite: Invite, _ server: ServerConnection) async throws -> Bool {
        let name = invite.trustDomain.name
        let own = try await server.bundles.getBundle(
            .with { $0.outputMask = .init() }, options: ServerConnection.options)
        guard own.trustDomain != name else {
            throw CommandError(
                "the invite is one of this server's own trust domain \(name); give it to the partner"
            )
        }
        let status = try await server.federation.getStatus(
            .init(), options: ServerConnection.options)
        guard let partner = status.partners.first(where: { $0.trustDomain == name }) else {
            return false
        }
        if partner.configured {
            throw CommandError(
                "the configuration has a relationship with \(name), and it counts before others",
                hints: ["take federates_with \"\(name)\" out of the configuration first"])
        }
        guard self.replace || self.dryRun else {
            throw CommandError(
                "there is a relationship with \(name) already",
                hints: [
                    "to let the invite take its place: add -replace",
                    "to see it: cygnet-server federation show -trustDomain \(name)",
                ])
        }
        return true
    }

    /// Sets limits before the bundle is there, so that nothing of the partner is ever trusted beyond them.
    ///
    /// - Returns: those that were set before; nil when there were none.
    private func set(
        _ limits: Cygnet_Federation_V1_PartnerLimits?, _ server: ServerConnection
    ) async throws -> Cygnet_Federation_V1_PartnerLimits? {
        guard let limits else { return nil }
        let known = try await server.federation.listPartnerLimits(
            .init(), options: ServerConnection.options)
        _ = try await server.federation.setPartnerLimits(
            .with { $0.limits = limits }, options: ServerConnection.options)
        return known.limits.first { $0.trustDomain == limits.trustDomain }
    }

    /// Puts limits back as they were, after the server has said that nothing came of the relationship. Where it has not
    /// answered they stay: there may be a relationship, and nothing of it may be trusted beyond them.
    ///
    /// - Returns: what the command fails with.
    private func undo(
        _ limits: Cygnet_Federation_V1_PartnerLimits?,
        before: Cygnet_Federation_V1_PartnerLimits?, _ error: CommandError,
        _ server: ServerConnection
    ) async -> CommandError {
        guard let limits else { return error }
        let message = error.message
        do {
            if let before {
                _ = try await server.federation.setPartnerLimits(
                    .with { $0.limits = before }, options: ServerConnection.options)
            } else {
                _ = try await server.federation.deletePartnerLimits(
                    .with { $0.trustDomain = limits.trustDomain }, options: ServerConnection.options
                )
            }
            return error
        } catch {
            return CommandError(
                message,
                hints: [
                    "the limits of \(limits.trustDomain) stay set: "
                        + "cygnet-server federation limits delete -trustDomain \(limits.trustDomain)"
                ])
        }
    }

    /// Makes the relationship, or changes the one that exists.
    ///
    /// - Returns: what became of it.
    private func relate(
        _ verified: VerifiedInvite, exists: Bool, _ server: ServerConnection
    ) async throws -> Spire_Api_Types_Status {
        let invite = verified.invite
        let relationship = Spire_Api_Types_FederationRelationship.with {
            $0.trustDomain = invite.trustDomain.name
            $0.bundleEndpointURL = invite.bundleEndpointURL
            switch invite.profile {
            case .httpsWeb: $0.httpsWeb = .init()
            case .httpsSPIFFE(let id): $0.httpsSpiffe = .with { $0.endpointSpiffeID = id.string }
            }
            $0.trustDomainBundle = BundleInput.message(verified.bundle)
        }
        let status: Spire_Api_Types_Status?
        if exists {
            status = try await server.trustDomains.batchUpdateFederationRelationship(
                .with { $0.federationRelationships = [relationship] },
                options: ServerConnection.options
            ).results.first?.status
        } else {
            status = try await server.trustDomains.batchCreateFederationRelationship(
                .with { $0.federationRelationships = [relationship] },
                options: ServerConnection.options
            ).results.first?.status
        }
        guard let status else {
            throw CommandError("the server did not say what became of the relationship")
        }
        return status
    }

    /// The error as a command tells it.
    private static func refusal(_ error: InviteError) -> CommandError {
        CommandError(
            "the invite is not accepted: \(TerminalText.safe(error.message))",
            hints: ["nothing was changed"])
    }
}
