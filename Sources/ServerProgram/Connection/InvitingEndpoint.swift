import SPIFFE
import SPIFFEHTTP
import ServerCore
import ServiceRuntime

/// Fetches the bundle of a partner of whom nothing is known but an invite.
struct InvitingEndpoint: Sendable {
    /// The most bytes of a bundle.
    static let maximumSize = 4 * 1024 * 1024

    /// What the certificate of an endpoint with the profile `https_web` must lead to.
    var webAuthorities = WebHTTPSClient.ServerAuthentication.machineAuthorities

    /// The bundle, and how the endpoint has proven itself. With `https_spiffe` nothing is verified yet: there is nothing to
    /// verify with; see ``InviteLine/verify(_:from:now:)``.
    ///
    /// - Throws: ``CommandError`` that names the URL.
    func fetch(
        _ invite: Invite
    ) async throws -> (bundle: SPIFFEBundle, evidence: InviteEndpointEvidence) {
        let url = invite.bundleEndpointURL
        func refused(_ reason: String) -> CommandError {
            CommandError(
                "cannot fetch the bundle of \(invite.trustDomain) from \(QuotedText.quoted(url)): "
                    + TerminalText.safe(reason),
                hints: ["nothing was changed; try again when the partner's endpoint can be reached"]
            )
        }
        let isWeb = invite.profile == .httpsWeb
        let client = WebHTTPSClient(
            isWeb ? self.webAuthorities : .unverified, maximumResponseBytes: Self.maximumSize)
        let response: WebHTTPSClient.Response
        do {
            response = try await client.send(
                .init("GET", url: url, headers: [("accept", "application/json")]))
        } catch let error as CancellationError {
            throw error
        } catch {
            throw refused("\(error)")
        }
        // Redirections are not followed here: the invite names the place.
        guard response.status == 200 else {
            throw refused("the endpoint answered with status \(response.status); expected 200")
        }
        let bundle: SPIFFEBundle
        do {
            bundle = try SPIFFEBundle(trustDomain: invite.trustDomain, json: response.body)
        } catch {
            throw refused("what it serves is no bundle: \(error.message)")
        }
        return (bundle, isWeb ? .webPKI : .presented(certificatesDER: response.certificatesDER))
    }
}
