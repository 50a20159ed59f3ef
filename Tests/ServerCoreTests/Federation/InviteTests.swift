import Foundation
import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

/// Invites of `acme.test`, whose authorities are those of a real control plane without I/O.
@Suite struct InviteTests {
    private static let nonce = [UInt8](repeating: 7, count: 16)

    private func invite(
        _ plane: TestPlane, url: String = "https://acme.test:8443/", web: Bool = false,
        ttl: Int64 = 3_600
    ) throws -> Invite {
        try Invite(
            to: try #require(plane.directory.ownBundle).published(), bundleEndpointURL: url,
            profile: web ? .httpsWeb : .httpsSPIFFE(endpointID: plane.id("/spire/server")),
            expiresAt: plane.clock.unixTime + ttl, nonce: Self.nonce)
    }

    private func line(
        _ plane: TestPlane, _ invite: Invite, audience: String? = nil,
        signer: String = "/cygnet/federation/invite"
    ) async throws -> InviteLine {
        let svid = try await plane.issuer.issue(
            JWTIssuance(
                spiffeID: plane.id(signer), audience: [audience ?? invite.signatureAudience],
                ttl: 7_200, origin: .mint), requestedBy: "test")
        return InviteLine(invite, token: svid.token)
    }

    private func code(_ text: String) -> InviteError.Code? {
        do throws(InviteError) {
            _ = try InviteLine(parsing: text)
            return nil
        } catch {
            return error.code
        }
    }

    @Test func comesBackAsItWent() async throws {
        let plane = try await TestPlane()
        for web in [true, false] {
            let line = try await self.line(plane, self.invite(plane, web: web))
            let text = line.text
            #expect(text.hasPrefix("cygnet-invite-1."))
            #expect(text.utf8.allSatisfy { (0x21...0x7E).contains($0) })
            #expect(try InviteLine(parsing: text) == line)
            #expect(
                try InviteLine(parsing: " \(text.prefix(90))\r\n  \(text.dropFirst(90))\n") == line)
        }
    }

    @Test func findsEveryChangeOfTheText() async throws {
        let plane = try await TestPlane()
        let text = try await self.line(plane, self.invite(plane)).text
        let bytes = Array(text.utf8)
        for index in bytes.indices {
            var changed = bytes
            changed[index] =
                changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(self.code(String(decoding: changed, as: UTF8.self)) != nil, "byte \(index)")
            #expect(self.code(String(text.prefix(index))) != nil, "\(index) bytes")
        }
        #expect(self.code("") == .notAnInvite)
        #expect(self.code("hello") == .notAnInvite)
        #expect(self.code("cygnet-invite-2.a.b.c.d.e") == .version)
        #expect(self.code("cygnet-invite-1") == .damaged)
        #expect(self.code("cygnet-invite-1.....") == .damaged)
        #expect(self.code(String(repeating: "a", count: 16_385)) == .notAnInvite)
        #expect(self.code(text.dropLast(1) + "é") == .damaged)
    }

    @Test(arguments: [
        ("td", #""Acme.test""#), ("td", "null"), ("td", #""acme.test/x""#), ("td", #""""#),
        ("url", #""http://acme.test/""#), ("url", #""https://u@acme.test/""#),
        ("url", #""https:///x""#), ("url", #""https://acme.test/#a""#),
        ("url", #""https://acme.test:0/""#), ("url", #""https://acme.test:99999/""#),
        ("url", #""https://acme.test:+1/""#), ("url", #""https://acme.test/\u0000""#),
        ("url", "1"), ("p", #""https""#), ("p", "null"), ("id", #""spiffe://acme.test""#),
        ("id", #""https://acme.test/x""#), ("id", "null"), ("fp", #""AAAA""#), ("fp", #""*""#),
        ("fp", "[]"), ("x5", "[]"), ("x5", #"["AAAA"]"#), ("x5", "[1]"), ("x5", "{}"),
        ("exp", "0"), ("exp", "-1"), ("exp", "253402300800"), ("exp", "1.5"), ("exp", "true"),
        ("exp", "18446744073709551615"), ("exp", #""1""#), ("n", #""AA""#), ("n", "null"),
        ("more", "1"),
    ])
    func refusesFields(name: String, value: String) async throws {
        let plane = try await TestPlane()
        let invite = try self.invite(plane)
        var members = try #require(try JSONValue(parsing: invite.payload).objectValue)
        members[name] = try JSONValue(parsing: "[\(value)]").arrayValue?.first
        let payload = JSONValue.object(members).serialized()
        #expect {
            _ = try Invite(payload: payload)
        } throws: { error in
            (error as? InviteError)?.code == .malformed
        }
    }

    @Test func refusesOtherSpellingsOfTheSameContent() async throws {
        let plane = try await TestPlane()
        let payload = try self.invite(plane).payload
        #expect(try Invite(payload: payload) == self.invite(plane))
        for other in [[0x20] + payload, payload + [0x0A], Array(payload.dropLast()), [], [0xFF]] {
            #expect(throws: InviteError.self) { _ = try Invite(payload: other) }
        }
        let twice = String(decoding: payload, as: UTF8.self).replacing(
            #"{"exp""#, with: #"{"n":"x","exp""#)
        #expect(throws: InviteError.self) { _ = try Invite(payload: Array(twice.utf8)) }
    }

    @Test func fingerprintsKnowContentAndNothingElse() async throws {
        let plane = try await TestPlane()
        var stored = try #require(plane.directory.ownBundle)
        let print = BundleFingerprint.of(try stored.published())
        stored.sequenceNumber += 5
        stored.refreshHint = 9
        #expect(BundleFingerprint.of(try stored.published()) == print)
        let read = try SPIFFEBundle(
            trustDomain: plane.trustDomain, json: stored.published().json())
        #expect(BundleFingerprint.of(read) == print)
        var other = stored
        other.jwtAuthorities[0].keyID += "x"
        #expect(BundleFingerprint.of(try other.published()) != print)
        other = stored
        other.x509Authorities = []
        #expect(BundleFingerprint.of(try other.published()) != print)
        #expect(BundleFingerprint.text([0, 1, 0xAB, 0xCD, 0xEF]) == "0001 abcd ef")
    }
}
