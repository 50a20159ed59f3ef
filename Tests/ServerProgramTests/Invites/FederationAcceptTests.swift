import Foundation
import LoopbackTestSupport
import SPIFFE
import ServerCore
import ServerTestSupport
import ServiceRuntime
import Testing

@testable import ServerProgram

/// `federation accept` against a server's local API and a partner's endpoint, both real but for their bundles.
@Suite(.timeLimit(.minutes(2))) struct FederationAcceptTests {
    /// What a test has at hand.
    private struct World: Sendable {
        let server: AcceptingServer
        let partner: InvitingPartner
        /// The endpoint of the partner, with a certificate for `localhost`.
        let endpoint: TestBundleServer
        let web: WebAuthority

        func accept(_ arguments: String...) async throws -> (output: String, error: CommandError?) {
            try await self.server.accept(arguments, web: self.web)
        }

        /// Expects that the line is refused with these words, and that nothing came of it.
        func refuses(
            _ line: String, _ words: String..., asked: Int = 0,
            sourceLocation: Testing.SourceLocation = #_sourceLocation
        ) async throws {
            let (output, error) = try await self.accept(line)
            let message = error?.message ?? ""
            for word in words {
                #expect(message.contains(word), "\(message)", sourceLocation: sourceLocation)
            }
            #expect(message.utf8.count < 2_048, sourceLocation: sourceLocation)
            #expect(output.isEmpty, sourceLocation: sourceLocation)
            #expect(self.server.isUntouched, sourceLocation: sourceLocation)
            #expect(self.endpoint.requests.count == asked, sourceLocation: sourceLocation)
        }
    }

    private static func with(
        relationships: [FederationRelationship] = [],
        _ body: @escaping @Sendable (World) async throws -> Void
    ) async throws {
        let web = try WebAuthority()
        let partner = try await InvitingPartner()
        try await AcceptingServer.with(relationships: relationships) { server in
            try await TestBundleServer.with(try web.certificate(names: ["localhost"])) { endpoint in
                endpoint.answer(.lastResponse(body: try partner.bundle.json()))
                try await body(
                    World(server: server, partner: partner, endpoint: endpoint, web: web))
            }
        }
    }

    @Test func `a good line makes the relationship, with the bundle and its limits`() async throws {
        try await Self.with { world in
            let line = try await world.partner.line(url: world.endpoint.url())
            let (output, error) = try await world.accept(
                line.text, "-acceptedPath", "/agents/*", "-use", "x509")
            #expect(error == nil)
            let bundle = try world.partner.bundle
            for word in [
                "b.test", world.endpoint.url(), "https_web",
                BundleFingerprint.text(BundleFingerprint.of(bundle)), "/agents/*",
                "the fingerprint of the invite", "is trusted by entries that federate with it",
            ] {
                #expect(output.contains(word), "\(word)")
            }
            let relationship = try #require(try world.server.relationship())
            #expect(relationship.bundleEndpointURL == world.endpoint.url())
            #expect(relationship.profile == .httpsWeb)
            let stored = try #require(try world.server.bundle())
            #expect(stored.x509Authorities.map(\.der) == bundle.x509Authorities)
            #expect(stored.jwtAuthorities.map(\.keyID) == bundle.jwtAuthorities.map(\.keyID))
            let limits = try #require(world.server.plane.directory.limits.first)
            #expect(limits.acceptedPaths == ["/agents/*"] && limits.uses == .x509)
        }
    }

    @Test func `what is shown can be had as JSON, and a dry run changes nothing`() async throws {
        try await Self.with { world in
            let line = try await world.partner.line(url: world.endpoint.url()).text
            let (text, error) = try await world.accept(line, "-dryRun", "-use", "jwt")
            #expect(error == nil && text.contains("Nothing was changed."))
            #expect(world.server.isUntouched)
            let (shown, _) = try await world.accept(line, "-dryRun", "-output", "json")
            let one = try #require(try JSONValue(parsing: Array(shown.utf8)).objectValue)
            #expect(one["result"] == "shown" && one["grounds"] == "same_bundle")
            #expect(world.server.isUntouched)
            let (done, _) = try await world.accept(line, "-output", "json")
            let two = try #require(try JSONValue(parsing: Array(done.utf8)).objectValue)
            #expect(two["result"] == "created" && two["trust_domain"] == "b.test")
            #expect(try world.server.relationship() != nil)
        }
    }

    @Test func `an endpoint with an X509-SVID is taken when it is the one that is named`()
        async throws
    {
        try await Self.with { world in
            let partner = world.partner
            let id = try partner.plane.id("/spire/server")
            try await TestBundleServer.with(try await partner.svid()) { endpoint in
                endpoint.answer(.lastResponse(body: try partner.bundle.json()))
                let line = try await partner.line(url: endpoint.url(), endpointID: id).text
                #expect(try await world.accept(line).error == nil)
                #expect(try world.server.relationship()?.profile == .httpsSPIFFE(endpointID: id))
            }
            _ = try await world.server.plane.store.deleteRelationship(
                partner.plane.trustDomain, keepsBundle: false)
            // Another workload of the partner, and somebody without an SVID.
            for certificate in [
                try await partner.svid("/web"), try world.web.certificate(names: ["localhost"]),
            ] {
                try await TestBundleServer.with(certificate) { endpoint in
                    endpoint.answer(.lastResponse(body: try partner.bundle.json()))
                    let line = try await partner.line(url: endpoint.url(), endpointID: id)
                    try await world.refuses(line.text, "endpoint")
                }
            }
        }
    }

    @Test func `a line that is over is refused before anybody is asked`() async throws {
        try await Self.with { world in
            for ttl: Int64 in [0, -1, -86_400] {
                let line = try await world.partner.line(url: world.endpoint.url(), ttl: ttl)
                try await world.refuses(line.text, "not accepted", "expired")
            }
        }
    }

    @Test func `a line that was edited is refused, also with a checksum that fits`() async throws {
        try await Self.with { world in
            let line = try await world.partner.line(url: world.endpoint.url())
            let text = line.text
            try await world.refuses(String(text.dropLast(20)), "damaged")
            var bytes = Array(text.utf8)
            bytes[40] = bytes[40] == 0x41 ? 0x42 : 0x41
            try await world.refuses(String(decoding: bytes, as: UTF8.self), "damaged")
            try await world.refuses(text.replacing("invite-1.", with: "invite-9."), "version")
            try await world.refuses("hello\u{1B}[2J", "no invite")
            // The signature of the shorter invite below another one.
            let longer = try await world.partner.line(url: world.endpoint.url(), ttl: 7_000)
            let edited = InviteLine(longer.invite, token: line.token)
            try await world.refuses(edited.text, "signature", asked: 1)
        }
    }

    @Test func `a line that nobody of the partner's signed is refused`() async throws {
        try await Self.with { world in
            let stranger = try await InvitingPartner()
            let line = try await world.partner.line(
                url: world.endpoint.url(), signer: stranger.plane)
            try await world.refuses(line.text, "signature", asked: 1)
            let none = InviteLine(line.invite, token: "a.b.c")
            try await world.refuses(none.text, "signature", asked: 2)
        }
    }

    @Test func `a bundle with other fingerprints is refused`() async throws {
        try await Self.with { world in
            let stranger = try await InvitingPartner()
            // What the line speaks of is the stranger's, and the endpoint has the partner's; and the reverse.
            let line = try await world.partner.line(
                url: world.endpoint.url(), bundle: try stranger.bundle)
            try await world.refuses(line.text, "none of the authorities", asked: 1)
            world.endpoint.answer(.lastResponse(body: try stranger.bundle.json()))
            let good = try await world.partner.line(url: world.endpoint.url())
            try await world.refuses(good.text, "none of the authorities", asked: 2)
            let empty = try SPIFFEBundle(trustDomain: world.partner.plane.trustDomain)
            world.endpoint.answer(.lastResponse(body: empty.json()))
            try await world.refuses(good.text, "none of the authorities", asked: 3)
        }
    }

    @Test func `our own invite is for the partner`() async throws {
        try await Self.with { world in
            let own = InvitingPartner(plane: world.server.plane)
            let line = try await own.line(url: world.endpoint.url())
            try await world.refuses(line.text, "own trust domain acme.test")
        }
    }

    @Test func `a huge line is not read`() async throws {
        try await Self.with { world in
            let text = try await world.partner.line(url: world.endpoint.url()).text
            for size in [InviteLine.maximumLength + 1, 1_000_000] {
                let huge = text + String(repeating: " ", count: size - text.utf8.count)
                try await world.refuses(huge, "\(size) bytes", "at most 16384")
            }
            let padded =
                text + String(repeating: " ", count: InviteLine.maximumLength - text.utf8.count)
            #expect(try await world.accept(padded, "-dryRun").error == nil)
        }
    }

    @Test func `a partner that is there with other settings stays, unless it is to be replaced`()
        async throws
    {
        try await Self.with { world in
            let old = FederationRelationship(
                trustDomain: world.partner.plane.trustDomain,
                bundleEndpointURL: "https://b.test/old",
                profile: .httpsSPIFFE(endpointID: try world.partner.plane.id("/old")))
            let registry = FederationRegistry(
                directory: world.server.plane.directory, store: world.server.plane.store)
            let bundle = try Partner.stored("b.test")
            _ = try await registry.create(.init(old, bundle: bundle))
            let line = try await world.partner.line(url: world.endpoint.url()).text
            let refused = try await world.accept(line, "-acceptedPath", "/agents/*")
            #expect(refused.error?.message.contains("already") == true)
            #expect(refused.error?.hints.contains { $0.contains("-replace") } == true)
            #expect(try world.server.relationship() == old)
            #expect(try world.server.bundle()?.x509Authorities == bundle.x509Authorities)
            #expect(world.server.plane.directory.limits.isEmpty)
            #expect(world.endpoint.requests.isEmpty)
            // Looking is allowed.
            #expect(try await world.accept(line, "-dryRun").error == nil)
            #expect(try world.server.relationship() == old)
            let done = try await world.accept(line, "-replace", "-output", "json")
            #expect(done.error == nil && done.output.contains(#""result":"updated""#))
            #expect(try world.server.relationship()?.bundleEndpointURL == world.endpoint.url())
            #expect(try world.server.relationship()?.profile == .httpsWeb)
            #expect(
                try world.server.bundle()?.x509Authorities.map(\.der)
                    == world.partner.bundle.x509Authorities)
        }
    }

    @Test func `a relationship of the configuration stays in any case`() async throws {
        let configured = try Partner.relationship("b.test")
        try await Self.with(relationships: [configured]) { world in
            let line = try await world.partner.line(url: world.endpoint.url()).text
            for flag in ["-replace", "-dryRun"] {
                let (_, error) = try await world.accept(line, flag)
                #expect(error?.message.contains("configuration has a relationship") == true)
            }
            #expect(world.server.plane.directory.relationships == [configured])
            #expect(world.server.plane.directory.foreignBundles.isEmpty)
        }
    }

    @Test func `an endpoint that is away, redirects or serves something else changes nothing`()
        async throws
    {
        try await Self.with { world in
            let good = try await world.partner.line(url: world.endpoint.url()).text
            world.endpoint.answer(
                .lastResponse("302 Found", ["location: \(world.endpoint.url())/other"]))
            try await world.refuses(good, "status 302", asked: 1)
            world.endpoint.answer(.lastResponse(body: Array("<html>".utf8)))
            try await world.refuses(good, "is no bundle", asked: 2)
            // A port that was free a moment ago.
            let url = try await TestBundleServer.with(
                try world.web.certificate(names: ["localhost"])
            ) { $0.url() }
            let away = try await world.partner.line(url: url)
            try await world.refuses(away.text, "cannot fetch the bundle of b.test", url, asked: 2)
        }
    }

    @Test func `a bundle with an authority of ours is not taken, however it is signed`()
        async throws
    {
        try await Self.with { world in
            let ours = try #require(world.server.plane.directory.ownBundle)
            let theirs = try world.partner.bundle
            let mixed = try SPIFFEBundle(
                trustDomain: theirs.trustDomain,
                x509Authorities: theirs.x509Authorities + ours.x509Authorities.map(\.der),
                jwtAuthorities: theirs.jwtAuthorities)
            world.endpoint.answer(.lastResponse(body: mixed.json()))
            let line = try await world.partner.line(url: world.endpoint.url(), bundle: mixed)
            let (_, error) = try await world.accept(line.text)
            #expect(error?.message.contains("failed to accept the invite of b.test") == true)
            #expect(try world.server.relationship() == nil && world.server.bundle() == nil)
            // Nor do limits stay behind, and those that were there before are as they were.
            #expect(try await world.accept(line.text, "-use", "x509").error != nil)
            #expect(world.server.isUntouched)
            let before = try PartnerLimits(
                trustDomain: world.partner.plane.trustDomain, acceptedPaths: ["/agents/*"],
                uses: .jwt)
            try await world.server.plane.store.setLimits(before)
            let (_, again) = try await world.accept(line.text, "-acceptedPath", "/db")
            #expect(again?.message.contains("failed to accept the invite of b.test") == true)
            #expect(world.server.plane.directory.limits == [before])
        }
    }

    @Test func `limits that are none stop everything`() async throws {
        try await Self.with { world in
            let line = try await world.partner.line(url: world.endpoint.url()).text
            for flags in [["-use", "wit"], ["-acceptedPath", "agents"]] {
                let (output, error) = try await world.server.accept([line] + flags, web: world.web)
                #expect(error?.message.contains("limits") == true)
                #expect(output.isEmpty && world.server.isUntouched)
                #expect(world.endpoint.requests.isEmpty)
            }
        }
    }
}
