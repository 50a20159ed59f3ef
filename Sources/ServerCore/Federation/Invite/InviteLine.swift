import Crypto
import SPIFFE

/// An invite as one line of printable text: `cygnet-invite-1.<payload>.<token>.<checksum>`.
///
/// The payload is base64url of ``Invite/payload``. The token is a JWT-SVID of ``Invite/signerID(of:)`` whose audience
/// has the payload's SHA-256: the signature of a JWT authority of the inviting trust domain, without its header,
/// claims and signature being told apart here. The checksum, eight hex digits, finds lines that were cut or broken
/// while copying; it protects against nobody.
package struct InviteLine: Sendable, Hashable {
    package let invite: Invite
    /// The signature, a JWT-SVID in compact form.
    package let token: String

    /// The longest line that is read, in bytes.
    package static let maximumLength = 16 * 1024
    private static let family = "cygnet-invite-"
    private static let version = "1"

    /// - Parameter token: As ``Invite/signatureAudience`` asks for; checked by ``accept(_:from:now:)``.
    package init(_ invite: Invite, token: String) {
        self.invite = invite
        self.token = token
    }

    /// The line.
    package var text: String {
        let body =
            Self.family + Self.version + "." + Base64URL.encode(self.invite.payload) + "."
            + self.token
        return body + "." + Self.checksum(body)
    }

    /// Reads a line. White space around it and line breaks within it, as mail programs add them, are ignored.
    ///
    /// - Throws: ``InviteError``. What comes out keeps to the form; nothing is said about who made it.
    package init(parsing text: String) throws(InviteError) {
        guard text.utf8.count <= Self.maximumLength else {
            throw InviteError(
                .notAnInvite,
                "text has \(text.utf8.count) bytes; an invite has at most \(Self.maximumLength)")
        }
        let bytes = text.utf8.filter { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
        let line = String(decoding: bytes, as: UTF8.self)
        guard line.hasPrefix(Self.family) else {
            throw InviteError(
                .notAnInvite,
                "text \(quoted(String(line.prefix(40)))) is no invite; expected a line that begins with "
                    + "\(Self.family)\(Self.version)")
        }
        let parts = line.dropFirst(Self.family.count)
            .split(separator: ".", omittingEmptySubsequences: false)
        guard let version = parts.first, version == Self.version else {
            throw InviteError(
                .version,
                "invite has version \(quoted(String((parts.first ?? "").prefix(20)))); this program reads "
                    + "version \(Self.version)")
        }
        let body = line.dropLast(9)
        guard parts.count == 6, line.utf8.count > 9, line.suffix(9) == "." + Self.checksum(body)
        else {
            throw InviteError(
                .damaged, "invite is damaged or incomplete; copy the whole line again")
        }
        let payload: [UInt8]
        do throws(JOSEError) {
            payload = try Base64URL.decode(parts[1])
        } catch {
            throw InviteError(.malformed, "content of the invite: \(error.message)")
        }
        self.init(
            try Invite(payload: payload), token: parts[2...4].joined(separator: "."))
    }

    private static func checksum(_ body: some StringProtocol) -> String {
        hex(SHA256.hash(data: Array(body.utf8)).prefix(4))
    }
}
