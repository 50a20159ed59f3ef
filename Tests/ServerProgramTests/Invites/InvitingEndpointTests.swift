import LoopbackTestSupport
import SPIFFE
import SPIFFEHTTP
import ServerCore
import ServerTestSupport
import ServiceRuntime
import Testing

@testable import ServerProgram

@Suite(.timeLimit(.minutes(2))) struct InvitingEndpointTests {
    private let web: WebAuthority

    init() throws { self.web = try WebAuthority() }

    private var endpoint: InvitingEndpoint {
        InvitingEndpoint(webAuthorities: .authorities(pem: self.web.rootPEM))
    }

    private func failure(_ invite: Invite) async throws -> CommandError? {
        do {
            _ = try await self.endpoint.fetch(invite)
            return nil
        } catch let error as CommandError {
            return error
        }
    }

    @Test func `with https_web the host name is proved, and the bundle is read`() async throws {
        let partner = try await InvitingPartner()
        try await TestBundleServer.with(try self.web.certificate(names: ["localhost"])) { server in
            server.answer(.lastResponse(body: try partner.bundle.json()))
            let (bundle, evidence) = try await self.endpoint.fetch(
                try await partner.line(url: server.url()).invite)
            #expect(bundle.x509Authorities == (try partner.bundle.x509Authorities))
            guard case .webPKI = evidence else {
                Issue.record("\(evidence)")
                return
            }
            let request = try #require(server.requests.first)
            #expect(request.text.hasPrefix("GET /bundle HTTP/1.1\r\n"))
            #expect(server.requests.count == 1)
        }
    }

    @Test func `with https_spiffe the certificates are handed on for others to judge`()
        async throws
    {
        let partner = try await InvitingPartner()
        let id = try partner.plane.id("/spire/server")
        // One that nobody signed for is handed on too: InviteLine refuses it.
        for certificate in [
            try await partner.svid(), try self.web.certificate(names: ["localhost"]),
        ] {
            try await TestBundleServer.with(certificate) { server in
                server.answer(.lastResponse(body: try partner.bundle.json()))
                let line = try await partner.line(url: server.url(), endpointID: id)
                let (_, evidence) = try await self.endpoint.fetch(line.invite)
                guard case .presented(let chain) = evidence else {
                    Issue.record("\(evidence)")
                    return
                }
                #expect(chain == certificate.chain)
            }
        }
    }

    @Test func `a certificate for another name or by a stranger is refused`() async throws {
        let partner = try await InvitingPartner()
        let bad = [
            try self.web.certificate(names: ["other.test"]),
            try WebAuthority().certificate(names: ["localhost"]),
            try await partner.svid(),
        ]
        for certificate in bad {
            try await TestBundleServer.with(certificate) { server in
                server.answer(.lastResponse(body: try partner.bundle.json()))
                let error = try await self.failure(
                    try await partner.line(url: server.url()).invite)
                #expect(error?.message.contains("cannot fetch the bundle of b.test") == true)
                #expect(error?.message.contains(server.url()) == true)
                #expect(server.requests.isEmpty, "nothing is asked before the name is proved")
            }
        }
    }

    @Test(
        arguments: [
            "204 No Content", "301 Moved Permanently", "302 Found", "304 Not Modified",
            "307 Temporary Redirect", "404 Not Found", "500 Internal Server Error",
        ])
    func `any status but 200 is refused, and no redirection followed`(status: String) async throws {
        let partner = try await InvitingPartner()
        try await TestBundleServer.with(try self.web.certificate(names: ["localhost"])) { server in
            let hasBody = !["204", "304"].contains(status.prefix(3))
            server.answer(
                .lastResponse(
                    status, ["location: \(server.url())/elsewhere"],
                    body: hasBody ? try partner.bundle.json() : []))
            let error = try await self.failure(try await partner.line(url: server.url()).invite)
            #expect(error?.message.contains("status \(status.prefix(3))") == true)
            #expect(error?.hints.first?.contains("nothing was changed") == true)
            #expect(server.requests.count == 1)
        }
    }

    @Test func `what is no bundle is refused`() async throws {
        let partner = try await InvitingPartner()
        let good = try partner.bundle.json()
        let bodies: [(String, [UInt8])] = [
            ("nothing", []), ("HTML", Array("<html>\u{1B}[2J</html>".utf8)),
            ("a list", Array("[]".utf8)), ("no keys", Array("{}".utf8)),
            ("keys that are none", Array(#"{"keys": 1}"#.utf8)),
            ("keys twice", Array(#"{"keys": [], "#.utf8) + good.dropFirst()),
            ("half of it", Array(good.prefix(good.count / 2))), ("more of it", good + [0x78]),
            ("no UTF-8", [0xFF, 0xFE] + good),
        ]
        try await TestBundleServer.with(try self.web.certificate(names: ["localhost"])) { server in
            let invite = try await partner.line(url: server.url()).invite
            for (name, body) in bodies {
                server.answer(.lastResponse(body: body))
                let error = try await self.failure(invite)
                #expect(error?.message.contains("is no bundle") == true, "\(name)")
                #expect(error?.message.contains("\u{1B}") == false, "\(name)")
            }
            // Longer than said, and not as long as said.
            server.answer(
                .close(Array("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n".utf8) + good))
            #expect(try await self.failure(invite) != nil)
            server.answer(.close(Array("no HTTP at all\r\n\r\n".utf8)))
            #expect(try await self.failure(invite) != nil)
        }
    }

    @Test func `a huge bundle is not read to its end`() async throws {
        let partner = try await InvitingPartner()
        try await TestBundleServer.with(try self.web.certificate(names: ["localhost"])) { server in
            let body = try partner.bundle.json()
            let space = [UInt8](repeating: 0x20, count: InvitingEndpoint.maximumSize)
            server.answer(.lastResponse(body: body + space.dropFirst(body.count)))
            let invite = try await partner.line(url: server.url()).invite
            #expect(try await self.failure(invite) == nil)
            server.answer(.lastResponse(body: body + space))
            let error = try await self.failure(invite)
            #expect(error?.message.contains("cannot fetch the bundle") == true)
        }
    }

    @Test func `an endpoint where nobody listens is named`() async throws {
        let partner = try await InvitingPartner()
        // A port that was free a moment ago.
        let url = try await TestBundleServer.with(try self.web.certificate(names: ["localhost"])) {
            $0.url()
        }
        let error = try await self.failure(try await partner.line(url: url).invite)
        #expect(error?.message.contains(url) == true)
        #expect(error?.hints.first?.contains("nothing was changed") == true)
    }
}
