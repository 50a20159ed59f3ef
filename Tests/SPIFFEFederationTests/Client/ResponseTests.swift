import LoopbackTestSupport
import SPIFFE
import SPIFFEFederation
import SPIFFETesting
import Testing

@Suite("Answers of bundle endpoints", .timeLimit(.minutes(2))) struct ResponseTests {
    private let fixture: ClientFixture

    init() throws { self.fixture = try ClientFixture() }

    @Test("An entity tag is sent back, and the answer to it may be that nothing has changed")
    func entityTag() async throws {
        let fixture = self.fixture
        let document = fixture.document
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer { request in
                request.value("if-none-match") == "w/\"v1\""
                    ? .text("HTTP/1.1 304 Not Modified\r\ncache-control: max-age=\"9\"\r\n\r\n")
                    : .response("200 OK", ["etag: W/\"v1\""], body: document)
            }
            let first = try await fixture.fetchWeb(server)
            #expect(first.entityTag == "W/\"v1\"")
            let second = try await fixture.fetchWeb(server, entityTag: first.entityTag)
            guard case .notModified = second.content else {
                Issue.record("a bundle came")
                return
            }
            #expect(second.entityTag == first.entityTag)
            #expect(second.maxAge == .seconds(9))
            // A tag that would write more than a header is not sent.
            for tag in ["v1", "\"v\r\nx: y\"", "\"", "\"a\"b\"", ""] {
                let response = try await fixture.fetchWeb(server, entityTag: tag)
                #expect(response.bundle != nil)
                #expect(server.requests.last?.value("if-none-match") == nil)
            }
        }
    }

    @Test("\"Not modified\" is no answer to a request without entity tag")
    func unaskedNotModified() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer(.text("HTTP/1.1 304 Not Modified\r\n\r\n"))
            let error = try await fixture.webFailure(server)
            #expect(error.code == .status)
            #expect(error.status == 304)
        }
    }

    @Test("Tags and ages that cannot be used are left out")
    func headers() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for (headers, tag, age) in [
                (["etag: v1"], nil, nil), (["etag: \"a\"", "etag: \"b\""], nil, nil),
                (["etag: \"\u{E4}\""], nil, nil), (["etag: \"\""], "\"\"", nil),
                (["cache-control: max-age=60, no-store"], nil, nil),
                (["cache-control: max-age=-1"], nil, nil), (["cache-control: max-age="], nil, nil),
                (["cache-control: Max-Age=0"], nil, 0),
                (["cache-control: max-age=99999999999999999999"], nil, Int64(Int32.max)),
            ] as [([String], String?, Int64?)] {
                server.answer(.response("200 OK", headers, body: fixture.document))
                let response = try await fixture.fetchWeb(server)
                #expect(response.entityTag == tag, "\(headers)")
                #expect(response.maxAge == age.map { .seconds($0) }, "\(headers)")
            }
        }
    }

    @Test(
        "A status that comes without bundle is an error, whatever the body",
        arguments: [
            "201 Created", "204 No Content", "206 Partial Content", "300 Multiple Choices",
            "401 Unauthorized", "404 Not Found", "410 Gone", "500 Internal Server Error",
        ])
    func statuses(status: String) async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer(
                status.hasPrefix("204")
                    ? .text("HTTP/1.1 204 No Content\r\n\r\n")
                    : .response(status, body: fixture.document))
            let error = try await fixture.webFailure(server)
            #expect(error.code == .status)
            #expect(error.status == Int(status.prefix(3)))
            #expect(error.retryAfter == nil)
        }
    }

    @Test("An endpoint may say how long it wants to be left alone")
    func retryAfter() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for (value, seconds) in [
                ("120", 120), ("Wed, 21 Oct 2015 07:28:00 GMT", nil), ("-1", nil),
                ("99999999999999999999", Int64(Int32.max)),
            ] as [(String, Int64?)] {
                server.answer(.response("503 Service Unavailable", ["retry-after: \(value)"]))
                let error = try await fixture.webFailure(server)
                #expect(error.status == 503)
                #expect(error.retryAfter == seconds.map { .seconds($0) }, "\(value)")
            }
        }
    }

    @Test("A client may ask the endpoint to wait for a change")
    func patience() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer(.response(body: fixture.document))
            let endpoint = try fixture.webEndpoint(server.url())
            for (patience, value) in [
                (Duration.seconds(55), "wait=55"), (.seconds(Int64.max), "wait=3600"),
                (.zero, "wait=0"), (.seconds(-5), "wait=0"),
            ] as [(Duration, String)] {
                _ = try await fixture.client().fetch(
                    endpoint, authenticatingWith: X509BundleSet(), waitingUpTo: patience)
                #expect(server.requests.last?.value("prefer") == value)
            }
        }
    }

    @Test("The content type is not insisted on")
    func contentType() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for type in ["application/json", "text/plain; charset=utf-8", "nonsense"] {
                server.answer(
                    .response("200 OK", ["content-type: \(type)"], body: fixture.document))
                let response = try await fixture.fetchWeb(server)
                #expect(response.bundle != nil)
            }
        }
    }

    @Test(
        "BND-01, BND-02, BND-08: what is no bundle is refused, naming endpoint and reason")
    func notABundle() async throws {
        let fixture = self.fixture
        let cases: [(String, [UInt8], BundleError.Code?)] = [
            ("empty", [], nil),
            ("byte order mark", [0xEF, 0xBB, 0xBF] + Array(#"{"keys":[]}"#.utf8), .malformed),
            ("UTF-16", Array(#"{"keys":[]}"#.utf16.flatMap { [UInt8($0), 0] }), .malformed),
            ("no UTF-8", Array(#"{"keys":[],"x":""#.utf8) + [0xFF] + Array(#""}"#.utf8), nil),
            ("HTML", Array("<html></html>".utf8), .malformed),
            ("array", Array("[]".utf8), .malformed),
            ("two documents", Array(#"{"keys":[]}{"keys":[]}"#.utf8), .malformed),
            ("name twice", Array(#"{"keys":[],"keys":[]}"#.utf8), .malformed),
            (
                "name twice in a key", Array(#"{"keys":[{"use":"x","use":"y"}]}"#.utf8), .malformed
            ),
            ("deep", Array(repeating: UInt8(ascii: "["), count: 100_000), .malformed),
            ("no keys", Array(#"{}"#.utf8), .noKeys),
            ("null keys", Array(#"{"keys":null}"#.utf8), .noKeys),
            ("object keys", Array(#"{"keys":{}}"#.utf8), .noKeys),
            ("fraction", Array(#"{"keys":[],"spiffe_sequence":1.5}"#.utf8), .sequence),
            ("negative", Array(#"{"keys":[],"spiffe_sequence":-1}"#.utf8), .sequence),
            ("text", Array(#"{"keys":[],"spiffe_sequence":"1"}"#.utf8), .sequence),
            (
                "too large", Array(#"{"keys":[],"spiffe_sequence":18446744073709551616}"#.utf8),
                .sequence
            ),
        ]
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for (name, body, code) in cases {
                server.answer(.response(body: body))
                let error = try await fixture.webFailure(server)
                #expect(error.code == .bundle, "\(name)")
                #expect((error.cause as? BundleError)?.code == code, "\(name)")
                #expect(error.message.contains(server.url()), "\(name)")
                #expect(error.message.contains("partner.test"), "\(name)")
            }
        }
    }

    @Test(
        "BND-03, BND-13, BND-15, BND-17: what is odd but allowed is a bundle, with warnings"
    )
    func oddBundles() async throws {
        let fixture = self.fixture
        let document = String(decoding: fixture.document, as: UTF8.self)
        let odd = document.replacing(
            #""keys":["#,
            with: #""x":{},"keys":[{"kty":"AKP","use":"x509-svid"},{"kty":"EC"},7,"#
                + #"{"kty":"EC","use":"sig"},"#)
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer(.response(body: Array(odd.utf8)))
            let response = try await fixture.fetchWeb(server)
            #expect(try response.bundle == fixture.partner.bundle)
            #expect(response.warnings.count == 4)
            server.answer(.response(body: Array(#"{"keys":[]}"#.utf8)))
            let empty = try await fixture.fetchWeb(server)
            #expect(empty.bundle?.x509Authorities.isEmpty == true)
            #expect(empty.bundle?.sequenceNumber == nil)
            let many = Array(repeating: "1", count: 5000).joined(separator: ",")
            server.answer(.response(body: Array("{\"keys\":[\(many)]}".utf8)))
            let warned = try await fixture.fetchWeb(server)
            #expect(warned.warnings.count == BundleEndpointResponse.maximumWarnings)
        }
    }
}
