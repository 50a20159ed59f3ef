import Foundation
import SPIFFE
import ServerCore
import ServiceRuntime
import X509

/// Invites, and what is trusted through them, for people and for scripts.
enum InviteText {
    /// What an invite says, as a block of lines.
    static func block(_ invite: Invite) -> String {
        self.endpoint(invite)
            + self.field("Bundle fingerprint", BundleFingerprint.text(invite.bundleFingerprint))
            + self.field("Expires", GoTime.utc(invite.expiresAt))
    }

    /// What will be trusted, as a block of lines.
    static func block(_ verified: VerifiedInvite) -> String {
        let bundle = verified.bundle
        var text =
            self.endpoint(verified.invite)
            + self.field(
                "Bundle fingerprint", BundleFingerprint.text(BundleFingerprint.of(bundle)))
            + self.field("Known by", self.words(verified.grounds))
        for authority in bundle.x509Bundle.authorities {
            let end = Int64(authority.notValidAfter.timeIntervalSince1970)
            text += self.field("X.509 authority valid until", GoTime.utc(end))
        }
        for keyID in bundle.jwtBundle.authorities.keys.sorted() {
            text += self.field("JWT authority", keyID)
        }
        for keyID in bundle.witBundle.authorities.keys.sorted() {
            text += self.field("WIT authority", keyID)
        }
        return text
    }

    /// An invite as one line of JSON.
    static func json(_ line: InviteLine) -> String {
        var members = self.members(line.invite)
        members["invite"] = .string(line.text)
        return self.text(members)
    }

    /// What is trusted, and what was done about it, as one line of JSON.
    ///
    /// - Parameter result: `shown`, `created` or `updated`.
    static func json(_ verified: VerifiedInvite, result: String) -> String {
        var members = self.members(verified.invite)
        let bundle = verified.bundle
        members["bundle_fingerprint"] = .string(hex(BundleFingerprint.of(bundle)))
        members["grounds"] = .string(self.name(verified.grounds))
        members["x509_authorities"] = .array(
            bundle.x509Bundle.authorities.map { authority in
                .object(["not_after": .int(Int64(authority.notValidAfter.timeIntervalSince1970))])
            })
        members["jwt_authorities"] = .array(
            bundle.jwtBundle.authorities.keys.sorted().map { .string($0) })
        members["result"] = .string(result)
        return self.text(members)
    }

    private static func members(_ invite: Invite) -> [String: JSONValue] {
        var members: [String: JSONValue] = [
            "trust_domain": .string(invite.trustDomain.name),
            "bundle_endpoint_url": .string(invite.bundleEndpointURL),
            "bundle_endpoint_profile": "https_web", "endpoint_spiffe_id": "",
            "bundle_fingerprint": .string(hex(invite.bundleFingerprint)),
            "expires_at": .int(invite.expiresAt),
        ]
        if case .httpsSPIFFE(let id) = invite.profile {
            members["bundle_endpoint_profile"] = "https_spiffe"
            members["endpoint_spiffe_id"] = .string(id.string)
        }
        return members
    }

    private static func text(_ members: [String: JSONValue]) -> String {
        String(decoding: JSONValue.object(members).serialized(), as: UTF8.self)
    }

    private static func endpoint(_ invite: Invite) -> String {
        var text =
            self.field("Trust domain", invite.trustDomain.name)
            + self.field("Bundle endpoint URL", invite.bundleEndpointURL)
        switch invite.profile {
        case .httpsWeb: text += self.field("Bundle endpoint profile", "https_web")
        case .httpsSPIFFE(let id):
            text += self.field("Bundle endpoint profile", "https_spiffe")
            text += self.field("Endpoint SPIFFE ID", id.string)
        }
        return text
    }

    private static func name(_ grounds: VerifiedInvite.Grounds) -> String {
        switch grounds {
        case .sameBundle: "same_bundle"
        case .namedAuthority: "named_authority"
        case .webPKI: "web_pki"
        }
    }

    private static func words(_ grounds: VerifiedInvite.Grounds) -> String {
        switch grounds {
        case .sameBundle: "the fingerprint of the invite"
        case .namedAuthority:
            "an authority that the invite names, which the endpoint proved; the bundle has changed since"
        case .webPKI:
            "the endpoint's host name and an authority that the invite names; the bundle has changed since"
        }
    }

    private static func field(_ label: String, _ value: String) -> String {
        TerminalText.field(label, value, width: 28) + "\n"
    }
}
