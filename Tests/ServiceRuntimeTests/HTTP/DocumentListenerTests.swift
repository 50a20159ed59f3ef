import Foundation
import Logging
import NIOCore
import Testing

@testable import ServiceRuntime

@Suite struct DocumentListenerTests {
    static let document = DocumentResponse(
        contentType: "application/json", body: Array("{\"a\":1}".utf8), entityTag: "\"one\"")

    /// Runs `body` against a listener of its own, and gives it the port.
    static func serving(
        _ limits: DocumentLimits = DocumentLimits(),
        _ body: @escaping @Sendable (Int) async throws -> Void
    ) async throws {
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        let listener = DocumentListener(
            purpose: "a test", place: .tcp(host: "127.0.0.1", port: 0), limits: limits,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) { request in
            switch request.path {
            case "/": Self.document
            case "/host":
                DocumentResponse(
                    contentType: "text/plain",
                    body: Array("\(request.host ?? "-") \(request.forwardedHost ?? "-")".utf8))
            case "/long":
                DocumentResponse(
                    contentType: "text/plain", body: [UInt8](repeating: 97, count: 8 << 20))
            case let path where path.hasPrefix("/echo/"):
                DocumentResponse(contentType: "text/plain", body: Array(path.utf8))
            default: nil
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await listener.run { continuation.yield($0) } }
            group.addTask {
                for await port in ports { return try await body(port) }
            }
            try await group.next()
            group.cancelAll()
        }
    }

    static func get(_ path: String, _ fields: String...) -> String {
        "GET \(path) HTTP/1.1\r\nHost: x\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
    }

    static func head(_ answer: String) -> String {
        answer.components(separatedBy: "\r\n\r\n").first ?? ""
    }

    static func body(_ answer: String) -> String {
        answer.components(separatedBy: "\r\n\r\n").dropFirst().joined(separator: "\r\n\r\n")
    }

    @Test func servesADocument() async throws {
        try await Self.serving { port in
            let answer = try await RawClient.exchange(port, Self.get("/?x=1", "Connection: close"))
            let head = Self.head(answer)
            #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n"))
            for field in [
                "content-type: application/json", "content-length: 7", "etag: \"one\"",
                "cache-control: no-cache", "connection: close",
            ] {
                #expect(head.contains("\r\n" + field), "\(field) in \(head)")
            }
            #expect(head.contains("\r\ndate: ") && head.contains(" GMT"))
            #expect(Self.body(answer) == "{\"a\":1}")
        }
    }

    @Test func answersHEADWithoutTheBody() async throws {
        try await Self.serving { port in
            let answer = try await RawClient.exchange(
                port, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            #expect(Self.head(answer).contains("content-length: 7"))
            #expect(Self.body(answer).isEmpty)
            let missing = try await RawClient.exchange(port, "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(missing.hasPrefix("HTTP/1.1 404") && Self.body(missing).isEmpty)
        }
    }

    @Test(arguments: [
        ("\"one\"", true), ("W/\"one\"", true), ("*", true), ("\"two\", \"one\"", true),
        ("\"two\",\tW/\"one\" ", true), ("\"two\"", false), ("one", false), ("", false),
        ("\"on\"", false), ("\"oneone\"", false),
    ])
    func comparesEntityTags(_ tag: String, _ isUnchanged: Bool) async throws {
        try await Self.serving { port in
            let answer = try await RawClient.exchange(
                port, Self.get("/", "If-None-Match: \(tag)", "Connection: close"))
            #expect(answer.hasPrefix(isUnchanged ? "HTTP/1.1 304" : "HTTP/1.1 200"))
            #expect(Self.body(answer).isEmpty == isUnchanged)
            #expect(Self.head(answer).contains("etag: \"one\""))
        }
    }

    @Test(arguments: [
        ("GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"),
        ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "413"),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "413"),
        ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "413"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "4"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "4"),
        ("\u{16}\u{3}\u{1}\u{0}\u{5}hello", "400"),
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", "400"),
    ])
    func refuses(_ request: String, _ status: String) async throws {
        try await Self.serving { port in
            let answer = try await RawClient.exchange(port, request)
            #expect(answer.hasPrefix("HTTP/1.1 \(status)"), "\(answer)")
            #expect(answer.contains("connection: close"))
            // One refusal, and nothing of what came after is answered.
            #expect(answer.components(separatedBy: "HTTP/1.1 ").count == 2)
        }
    }

    @Test func tellsWhichMethodsThereAre() async throws {
        try await Self.serving { port in
            let answer = try await RawClient.exchange(
                port, "PUT / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(Self.head(answer).contains("allow: GET, HEAD"))
        }
    }

    @Test func knowsTheHostOfARequest() async throws {
        try await Self.serving { port in
            for (request, want) in [
                ("GET /host HTTP/1.1\r\nHost: a.test:1\r\nConnection: close\r\n\r\n", "a.test:1 -"),
                (
                    "GET http://b.test/host HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                    "b.test -"
                ),
                ("GET /host HTTP/1.0\r\n\r\n", "- -"),
                (
                    "GET /host HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: c.test, d\r\nConnection: close\r\n\r\n",
                    "a c.test"
                ),
            ] {
                let answer = try await RawClient.exchange(port, request)
                #expect(Self.body(answer) == want)
            }
        }
    }

    @Test func answersHTTP10AndHangsUp() async throws {
        try await Self.serving { port in
            let answer = try await RawClient.exchange(
                port, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 200") && answer.contains("connection: close"))
        }
    }

    @Test func answersPipelinedRequestsInOrder() async throws {
        try await Self.serving { port in
            let requests = (0..<100).map { Self.get("/echo/\($0)") }.joined()
            let answer = try await RawClient.exchange(
                port,
                requests + Self.get("/echo/last", "Connection: close") + Self.get("/echo/late"))
            let bodies = answer.components(separatedBy: "HTTP/1.1 200 OK").dropFirst().map(
                Self.body)
            #expect(bodies == (0..<100).map { "/echo/\($0)" } + ["/echo/last"])
        }
    }

    @Test func disconnectsWhoeverAsksOnWithoutReading() async throws {
        try await Self.serving { port in
            let count = 32
            // A server that is not given a turn in all that time cannot see it.
            for pause in [1, 2, 4, 8] as [Int64] {
                let answer = try await RawClient.connect(
                    port, sending: String(repeating: Self.get("/long"), count: count),
                    readingAfter: .seconds(pause)
                ).all
                if answer.utf8.count < count * 8 << 20 { return }
            }
            Issue.record("whoever does not read was sent everything")
        }
    }

    @Test func sendsALongDocumentToTheEnd() async throws {
        try await Self.serving { port in
            let answer = try await RawClient.exchange(port, Self.get("/long", "Connection: close"))
            #expect(Self.body(answer).utf8.count == 8 << 20)
        }
    }

    @Test(arguments: [
        "GET /" + String(repeating: "a", count: 100_000),
        "GET / HTTP/1.1\r\nHost: x\r\nA: " + String(repeating: "a", count: 100_000),
        "GET / HTTP/1.1\r\nHost: x\r\n" + String(repeating: "a: b\r\n", count: 20_000) + "\r\n",
    ])
    func refusesLongRequests(_ request: String) async throws {
        try await Self.serving { port in
            // The answer may be lost when the client still sends; the end of the connection is not.
            let answer = try await RawClient.exchange(port, request)
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 431"), "\(answer)")
            let next = try await RawClient.exchange(port, Self.get("/", "Connection: close"))
            #expect(next.hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test(arguments: ["", "GET / HTTP/1.1\r\nHo", "GET / HTTP/1.1\r\nHost: x\r\n"])
    func disconnectsSlowClients(_ start: String) async throws {
        var limits = DocumentLimits()
        limits.requestTimeout = .milliseconds(50)
        try await Self.serving(limits) { port in
            let answer = try await RawClient.exchange(port, start)
            #expect(answer.isEmpty)
        }
    }

    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1"), ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        ("::1", "0:0:0:0:0:0:0:0"),
        ("2001:db8:1:2::5", "20:1:d:b8:0:1:0:2"), ("2001:db8:1:2:ffff::", "20:1:d:b8:0:1:0:2"),
    ])
    func countsNetworks(_ address: String, _ counted: String) throws {
        #expect(
            DocumentClient.counted(try SocketAddress(ipAddress: address, port: 1)) == counted)
    }

    @Test func endsIdleConnections() async throws {
        var limits = DocumentLimits()
        // Long enough for a machine that is busy with other tests.
        limits.idleTimeout = .seconds(4)
        limits.requestTimeout = .seconds(20)
        try await Self.serving(limits) { port in
            let answer = try await RawClient.exchange(port, Self.get("/"))
            #expect(Self.body(answer) == "{\"a\":1}" && !answer.contains("connection: close"))
        }
    }

    @Test func endsOldConnectionsWithAnAnswer() async throws {
        var limits = DocumentLimits()
        limits.maximumAge = .zero
        try await Self.serving(limits) { port in
            let answer = try await RawClient.exchange(port, Self.get("/"))
            #expect(answer.contains("connection: close"))
        }
    }

    @Test func boundsTheConnectionsOfOneAddress() async throws {
        var limits = DocumentLimits()
        limits.maximumConnectionsPerAddress = 3
        try await Self.serving(limits) { port in
            var held: [RawClient] = []
            for _ in 0..<3 {
                let client = try await RawClient.connect(port)
                client.send(Self.get("/"))
                // Its place is taken once it has been answered.
                try await client.isAnswered
                held.append(client)
            }
            let refused = try await RawClient.exchange(port, Self.get("/", "Connection: close"))
            #expect(refused.isEmpty)
            for client in held { client.close() }
            var answer = ""
            repeat {
                answer = try await RawClient.exchange(port, Self.get("/", "Connection: close"))
            } while answer.isEmpty
            #expect(answer.hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test func survivesThousandsOfConnections() async throws {
        var limits = DocumentLimits()
        limits.maximumConnections = 16
        try await Self.serving(limits) { port in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for round in 0..<2_000 {
                    if round >= 64 { try await group.next() }
                    group.addTask {
                        let answer = try await RawClient.exchange(
                            port, Self.get("/", "Connection: close"))
                        #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 200"))
                    }
                }
                try await group.waitForAll()
            }
            var answer = ""
            repeat {
                answer = try await RawClient.exchange(port, Self.get("/", "Connection: close"))
            } while answer.isEmpty
            #expect(answer.hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test func namesAnAddressThatCannotBeBound() async throws {
        try await Self.serving { port in
            let second = DocumentListener(
                purpose: "a second test", place: .tcp(host: "127.0.0.1", port: port),
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            ) { _ in nil }
            let error = await #expect(throws: CommandError.self) { try await second.run() }
            #expect(error?.message.contains("a second test on 127.0.0.1:\(port)") == true)
        }
    }

    @Test(arguments: [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
    ])
    func writesDates(_ second: Int, _ text: String) { #expect(HTTPDate.format(second) == text) }
}
