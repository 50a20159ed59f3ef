import ArgumentParser
import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import ServiceRuntime
import SwiftProtobuf

struct FederationInviteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "invite",
        abstract: "Print a line with which a partner can federate with this trust domain.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(
        name: .go("url"), parsing: .unconditional,
        help: "Where partners reach the bundle endpoint, https://…; else as the configuration says."
    )
    var url = ""

    @Option(
        name: .go("profile"), parsing: .unconditional,
        help:
            "How the endpoint proves itself: https_web or https_spiffe; else as the configuration says."
    )
    var profile = ""

    @Option(
        name: .go("endpointSpiffeID"), parsing: .unconditional,
        help: "The SPIFFE ID of the endpoint, with https_spiffe; else the server's.")
    var endpointSPIFFEID = ""

    @Option(
        name: .go("ttl"), parsing: .unconditional,
        help:
            "How long the invite can be accepted, such as 1h; shorter when authorities end before.")
    var ttl = DurationArgument(.seconds(24 * 3600))

    func run() async throws {
        guard self.ttl.wholeSeconds > 0 else {
            throw CommandError("-ttl must be longer than 0s, such as 24h")
        }
        let line = try await ServerConnection.with(self.socket) { server in
            try await InviteMaker(
                server: server, url: self.url, profileName: self.profile,
                endpointID: self.endpointSPIFFEID, ttl: Int64(self.ttl.wholeSeconds)
            ).make(now: { GoTime.now })
        }
        let context = CommandContext.current
        if self.output.format == .json {
            return context.print(InviteText.json(line))
        }
        // The line alone on standard output, so that it can be handed on.
        context.print(line.text)
        context.errorOutput("\n" + InviteText.block(line.invite))
    }
}

/// Makes an invite with what the server's API gives.
struct InviteMaker: Sendable {
    let server: ServerConnection
    /// These three are empty where the configuration, or the server's own ID, is to count.
    let url: String
    let profileName: String
    let endpointID: String
    /// Seconds.
    let ttl: Int64

    /// - Parameter now: Unix seconds.
    /// - Throws: ``CommandError``, `RPCError`.
    func make(now: @Sendable () -> Int64) async throws -> InviteLine {
        let message = try await self.server.bundles.getBundle(
            Spire_Api_Server_Bundle_V1_GetBundleRequest(), options: ServerConnection.options)
        let bundle: SPIFFEBundle
        do {
            bundle = try SPIFFEBundleText.bundle(message)
        } catch {
            throw CommandError(
                "the server's bundle cannot be read: \(TerminalText.safe("\(error)"))")
        }
        guard let latest = Invite.latestExpiry(bundle), !bundle.jwtBundle.authorities.isEmpty else {
            throw CommandError(
                "an invite needs an X.509 authority and a JWT authority, which signs it; the bundle of "
                    + "\(bundle.trustDomain) has not both")
        }
        let (url, profile) = try await self.endpoint(of: bundle.trustDomain)
        let nonce = (0..<Invite.nonceLength).map { _ in UInt8.random(in: .min ... .max) }
        var expiresAt = min(now() + self.ttl, latest)
        // The signing key may end before; then the invite ends with it.
        for _ in 0..<3 {
            let life = expiresAt - now()
            guard life > 0 else { break }
            let invite: Invite
            do throws(InviteError) {
                invite = try Invite(
                    to: bundle, bundleEndpointURL: url, profile: profile, expiresAt: expiresAt,
                    nonce: nonce)
            } catch {
                throw CommandError("cannot make an invite: \(error.message)")
            }
            let svid = try await self.sign(invite, life: life)
            if svid.expiresAt >= expiresAt { return InviteLine(invite, token: svid.token) }
            expiresAt = svid.expiresAt
        }
        throw CommandError(
            "the authorities of \(bundle.trustDomain) end too soon to make an invite; try again after their rotation"
        )
    }

    private func sign(_ invite: Invite, life: Int64) async throws -> Spire_Api_Types_JWTSVID {
        let signer = Spire_Api_Types_SPIFFEID(try Invite.signerID(of: invite.trustDomain))
        return try await self.server.svids.mintJWTSVID(
            .with {
                $0.id = signer
                $0.audience = [invite.signatureAudience]
                $0.ttl = Int32(clamping: life)
            }, options: ServerConnection.options
        ).svid
    }

    private func endpoint(of trustDomain: TrustDomain) async throws -> (String, Invite.Profile) {
        var configured = Cygnet_Federation_V1_OwnBundleEndpoint()
        if self.url.isEmpty || self.profileName.isEmpty {
            do {
                configured = try await self.server.federation.getBundleEndpoint(
                    .init(), options: ServerConnection.options)
            } catch let error as RPCError where error.code == .notFound {
                throw CommandError(
                    "the server's configuration has no bundle endpoint",
                    hints: [
                        "add federation { bundle_endpoint { … } } to the configuration",
                        "or say where the bundle is served: -url https://… -profile https_spiffe",
                    ])
            }
        }
        let url = self.url.isEmpty ? configured.url : self.url
        guard !url.isEmpty else {
            throw CommandError(
                "the configuration does not say under which URL partners reach the bundle endpoint",
                hints: [
                    "say it: -url https://bundle.example.org:8443/",
                    "or set url in federation { bundle_endpoint { … } }",
                ])
        }
        let name = self.profileName.isEmpty ? configured.profile : self.profileName
        switch name {
        case "https_web":
            guard self.endpointID.isEmpty else {
                throw CommandError(
                    "an endpoint SPIFFE ID belongs to the profile https_spiffe; https_web has none")
            }
            return (url, .httpsWeb)
        case "https_spiffe":
            let text =
                self.endpointID.isEmpty ? "spiffe://\(trustDomain)/spire/server" : self.endpointID
            do {
                return (url, .httpsSPIFFE(endpointID: try SPIFFEID(text)))
            } catch {
                throw CommandError("cannot use -endpointSpiffeID: \(error.message)")
            }
        default:
            throw CommandError(
                "profile \(QuotedText.quoted(name)) is not known; expected https_web or https_spiffe"
            )
        }
    }
}
