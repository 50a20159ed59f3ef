import LoopbackTestSupport
import SPIFFE
import SPIFFETesting
import Testing

@testable import SPIFFEFederation

@Suite("Documents beside bundles", .timeLimit(.minutes(2))) struct SiblingTests {
    private let fixture: ClientFixture
    private static let type = "application/vnd.cygnet.revocations+json"

    init() throws { self.fixture = try ClientFixture() }

    private func fetch(
        _ url: String, _ reference: String = "revocations", entityTag: String? = nil,
        waitingUpTo patience: Duration? = nil, maximumBytes: Int = 1_000
    ) async throws -> SiblingResponse {
        try await self.fixture.client().fetch(
            sibling: reference, of: try self.fixture.webEndpoint(url),
            authenticatingWith: X509BundleSet(), mediaType: Self.type, entityTag: entityTag,
            waitingUpTo: patience, maximumBytes: maximumBytes)
    }

    private func code(_ body: () async throws -> SiblingResponse) async throws
        -> BundleEndpointError.Code
    {
        try await #require(throws: BundleEndpointError.self) { _ = try await body() }.code
    }

    @Test("they lie in the bundle's folder; query and name of the bundle play no part")
    func places() async throws {
        try await TestBundleServer.with(try self.fixture.webCertificate) { server in
            server.answer(.response("200 OK", ["content-type: \(Self.type)"], body: [0x7B]))
            for bundle in ["", "/", "/bundle", "/?a=b"] {
                _ = try await self.fetch(server.url(bundle))
            }
            _ = try await self.fetch(server.url("/spiffe/bundle.json?x"), "crl/ab.crl")
            #expect(
                server.requests.map(\.target) == [
                    "/revocations", "/revocations", "/revocations", "/revocations",
                    "/spiffe/crl/ab.crl",
                ])
        }
    }

    @Test("a document, none, and the same as before; with the preference, and in nobody's name")
    func answers() async throws {
        try await TestBundleServer.with(try self.fixture.webCertificate) { server in
            let headers = [
                "content-type: \(Self.type); charset=utf-8", "etag: \"a\"",
                "preference-applied: wait=60",
            ]
            server.answer(.response("200 OK", headers, body: Array("{}".utf8)))
            let first = try await self.fetch(server.url(), waitingUpTo: .seconds(60))
            guard case .document(let bytes) = first.content else {
                Issue.record("no document")
                return
            }
            #expect(bytes == Array("{}".utf8) && first.entityTag == "\"a\"")
            #expect(first.appliedWait == .seconds(60))
            let request = try #require(server.requests.last)
            #expect(request.value("prefer") == "wait=60" && request.value("accept") == Self.type)
            #expect(request.value("cygnet-trust-domain") == nil)
            server.answer(.response("304 Not Modified"))
            let second = try await self.fetch(server.url(), entityTag: "\"a\"")
            guard case .notModified = second.content else {
                Issue.record("not the same")
                return
            }
            #expect(server.requests.last?.value("if-none-match") == "\"a\"")
            #expect(server.requests.last?.value("prefer") == nil)
            for absent in [
                TestBundleServer.Answer.response("404 Not Found"), .response("403 Forbidden"),
                .response("410 Gone"),
                .response("200 OK", ["content-type: text/html"], body: Array("<html>".utf8)),
                .response("200 OK", ["content-type: application/json"], body: Array("{}".utf8)),
                .response("200 OK", body: Array("{}".utf8)),
            ] {
                server.answer(absent)
                guard case .absent = try await self.fetch(server.url()).content else {
                    Issue.record("something is there: \(absent)")
                    continue
                }
            }
        }
    }

    @Test(
        "what is too long, packed, redirected to plain HTTP or in a circle, or broken is an error")
    func hostile() async throws {
        try await TestBundleServer.with(try self.fixture.webCertificate) { server in
            let type = ["content-type: \(Self.type)"]
            server.answer(.response("200 OK", type, body: [UInt8](repeating: 0x20, count: 1_001)))
            let found1 = try await self.code { try await self.fetch(server.url()) }
            #expect(found1 == .tooLarge)
            server.answer(
                .flood(
                    Array(
                        "HTTP/1.1 200 OK\r\ncontent-type: \(Self.type)\r\ncontent-length: 10000000\r\n\r\n"
                            .utf8), [UInt8](repeating: 0x20, count: 4_096)))
            let found2 = try await self.code { try await self.fetch(server.url()) }
            #expect(found2 == .tooLarge)
            server.answer(
                .response("200 OK", type + ["content-encoding: gzip"], body: [0x1F, 0x8B]))
            let found3 = try await self.code { try await self.fetch(server.url()) }
            #expect(found3 == .encoding)
            server.answer(.redirect("http://localhost:\(server.port)/revocations"))
            let found4 = try await self.code { try await self.fetch(server.url()) }
            #expect(found4 == .redirect)
            server.answer(.redirect("/revocations"))
            let found5 = try await self.code { try await self.fetch(server.url()) }
            #expect(found5 == .redirect)
            server.answer(.response("503 Service Unavailable"))
            let found6 = try await self.code { try await self.fetch(server.url()) }
            #expect(found6 == .status)
            server.answer(.response("304 Not Modified"))
            let found7 = try await self.code { try await self.fetch(server.url()) }
            #expect(found7 == .status)
        }
    }

    @Test("the profile of the bundle holds: another ID than the endpoint's gets no request")
    func profile() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try ServerCertificate(fixture.partner, "/endpoint")) {
            server in
            server.answer(.response("200 OK", ["content-type: \(Self.type)"], body: [0x7B]))
            let bundles = X509BundleSet([try fixture.partner.x509Bundle])
            func fetch(_ id: SPIFFEID?) async throws -> SiblingResponse {
                try await fixture.client().fetch(
                    sibling: "revocations", of: try fixture.spiffeEndpoint(server.url(), id),
                    authenticatingWith: bundles, mediaType: Self.type, maximumBytes: 1_000)
            }
            guard case .document = try await fetch(nil).content else {
                Issue.record("no document")
                return
            }
            let count = server.requests.count
            let other = try fixture.partner.id("/other")
            let found8 = try await self.code { try await fetch(other) }
            #expect(found8 == .refusedServer)
            #expect(server.requests.count == count)
        }
    }
}
