import LoopbackTestSupport
import SPIFFE
import SPIFFEFederation
import SPIFFETesting
import Testing

@Suite("Hostile bundle endpoints", .timeLimit(.minutes(2))) struct HostileServerTests {
    private let fixture: ClientFixture

    init() throws { self.fixture = try ClientFixture() }

    private func chunked(_ rest: String) -> TestBundleServer.Answer {
        .text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + rest)
    }

    @Test("A body that is larger than allowed is not read to its end")
    func hugeBodies() async throws {
        let fixture = self.fixture
        let block = [UInt8](repeating: UInt8(ascii: " "), count: 65_536)
        let chunk = Array("10000\r\n".utf8) + block + Array("\r\n".utf8)
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for (head, more) in [
                ("content-length: 1000000000000", block), ("connection: close", block),
                ("transfer-encoding: chunked", chunk),
            ] {
                server.answer(.flood(Array("HTTP/1.1 200 OK\r\n\(head)\r\n\r\n".utf8), more))
                let error = try await fixture.webFailure(server)
                #expect(error.code == .tooLarge, "\(head)")
                #expect(error.message.contains("1048576"), "\(head)")
            }
            server.answer(.response(body: fixture.document))
            let error = try await fixture.webFailure(server) {
                $0.maximumBodyBytes = fixture.document.count - 1
            }
            #expect(error.code == .tooLarge)
            let response = try await fixture.fetchWeb(server) {
                $0.maximumBodyBytes = fixture.document.count
            }
            #expect(response.bundle != nil)
        }
    }

    @Test("A head without end is not read to its end")
    func hugeHead() async throws {
        let fixture = self.fixture
        let name = Array("x: ".utf8)
        let line = name + [UInt8](repeating: UInt8(ascii: "a"), count: 4096) + Array("\r\n".utf8)
        let value = [UInt8](repeating: UInt8(ascii: "a"), count: 65_536)
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for (first, more) in [(name, value), (line, line)] {
                server.answer(.flood(Array("HTTP/1.1 200 OK\r\n".utf8) + first, more))
                let error = try await fixture.webFailure(server)
                #expect(error.code == .unreachable)
            }
        }
    }

    @Test("Half an answer is none, however it ends")
    func halfAnswers() async throws {
        let fixture = self.fixture
        let document = fixture.document
        let half = Array(document.prefix(document.count / 2))
        let length = Array("HTTP/1.1 200 OK\r\ncontent-length: \(document.count)\r\n\r\n".utf8)
        let untilEnd = Array("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".utf8)
        let size = String(document.count, radix: 16)
        let chunk = Array("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\(size)\r\n".utf8)
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for (name, answer) in [
                ("nothing", .close([])), ("nothing, cut", .cut([])),
                ("status line", .close(Array("HTTP/1.1 200 OK\r\n".utf8))),
                ("length", .close(length + half)), ("length, cut", .cut(length + half)),
                ("chunk", .close(chunk + half)), ("no last chunk", .close(chunk + document)),
                // Somebody in between could cut it anywhere: only TLS's farewell says that it is whole.
                ("to the end, cut", .cut(untilEnd + document)),
            ] as [(String, TestBundleServer.Answer)] {
                server.answer(answer)
                let error = try await fixture.webFailure(server)
                #expect(error.code == .unreachable, "\(name)")
            }
            server.answer(.close(untilEnd + document))
            let response = try await fixture.fetchWeb(server)
            #expect(response.bundle != nil)
        }
    }

    @Test("An answer that trickles or does not come ends with the time that it may take")
    func slowAnswers() async throws {
        let fixture = self.fixture
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for (name, answer) in [
                ("silent", .bytes([])), ("head only", .text(head)),
                ("trickle", .trickle(Array(head.utf8))),
                ("interim answers", .trickle(Array("HTTP/1.1 102 Processing\r\n\r\n".utf8))),
            ] as [(String, TestBundleServer.Answer)] {
                server.answer(answer)
                let error = try await fixture.webFailure(server) {
                    $0.responseTimeout = .milliseconds(300)
                }
                #expect(error.code == .timedOut, "\(name)")
                #expect(error.message.contains(server.url()), "\(name)")
            }
        }
    }

    @Test("What is no HTTP, or HTTP in pieces that do not fit, is refused")
    func garbage() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for (name, answer) in [
                ("chunk size", self.chunked("zz\r\nabc\r\n0\r\n\r\n")),
                ("chunk size overflow", self.chunked("FFFFFFFFFFFFFFFFF\r\nabc")),
                ("negative chunk", self.chunked("-1\r\nabc\r\n0\r\n\r\n")),
                ("chunk too long", self.chunked("2\r\nabc\r\n0\r\n\r\n")),
                ("status", .text("HTTP/1.1 abc OK\r\n\r\n")),
                ("no HTTP", .text("SSH-2.0-OpenSSH_9.2\r\n\r\n")),
                ("negative length", .text("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n")),
                (
                    "two lengths",
                    .text("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")
                ),
                ("zero bytes", .bytes([UInt8](repeating: 0, count: 64))),
            ] as [(String, TestBundleServer.Answer)] {
                server.answer(answer)
                let error = try await fixture.webFailure(server)
                #expect(error.code == .unreachable, "\(name)")
            }
        }
    }

    @Test("A body in a coding that nobody asked for is refused")
    func codings() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for coding in ["gzip", "identity, br", "x-nonsense"] {
                server.answer(
                    .response("200 OK", ["content-encoding: \(coding)"], body: fixture.document))
                let error = try await fixture.webFailure(server)
                #expect(error.code == .encoding, "\(coding)")
            }
            server.answer(
                .response("200 OK", ["content-encoding: identity"], body: fixture.document))
            let response = try await fixture.fetchWeb(server)
            #expect(response.bundle != nil)
        }
    }

    @Test("Chunks, small ones too, make a bundle")
    func chunks() async throws {
        let fixture = self.fixture
        let pieces = fixture.document.map { "1;ext=1\r\n\(Character(Unicode.Scalar($0)))\r\n" }
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer(self.chunked(pieces.joined() + "0\r\n\r\n"))
            let response = try await fixture.fetchWeb(server)
            #expect(try response.bundle == fixture.partner.bundle)
        }
    }

    @Test("A port where nobody listens is unreachable")
    func nobody() async throws {
        let fixture = self.fixture
        // A port that no test can be given in the meantime.
        let url = "https://localhost:1/bundle"
        let error = try await fixture.failure(try fixture.webEndpoint(url))
        #expect(error.code == .unreachable)
        #expect(error.message.contains(url))
    }

    @Test("A fetch that is cancelled ends as cancelled")
    func cancelled() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer(.bytes([]))
            let endpoint = try fixture.webEndpoint(server.url())
            let code = await withTaskGroup(of: BundleEndpointError.Code?.self) { group in
                group.addTask {
                    do throws(BundleEndpointError) {
                        _ = try await fixture.client().fetch(
                            endpoint, authenticatingWith: X509BundleSet())
                        return nil
                    } catch {
                        return error.code
                    }
                }
                while server.requests.isEmpty { await Task.yield() }
                group.cancelAll()
                return await group.next() ?? nil
            }
            #expect(code == .cancelled)
        }
    }
}
