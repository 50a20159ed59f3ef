import Foundation
import Logging
import Testing

@testable import ServiceRuntime

@Suite("Small POSTs to a document listener")
struct DocumentUploadTests {
    /// Runs `body` against a listener that takes ten bytes at `/echo`, and gives it the port.
    static func serving(
        _ limits: DocumentLimits = DocumentLimits(),
        _ body: @escaping @Sendable (Int) async throws -> Void
    ) async throws {
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        let post = DocumentPost(maximumBytes: 10) { body in
            DocumentResponse(contentType: "text/plain", body: Array("got ".utf8) + body)
        }
        let listener = DocumentListener(
            purpose: "a test", place: .tcp(host: "127.0.0.1", port: 0), limits: limits,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            posts: { $0.path == "/echo" ? post : nil }
        ) { request in
            request.path == "/" ? DocumentListenerTests.document : nil
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

    static func post(_ path: String, _ fields: String..., body: String = "") -> String {
        "POST \(path) HTTP/1.1\r\nHost: x\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n" + body
    }

    @Test func takesABodyAndKeepsTheConnection() async throws {
        try await Self.serving { port in
            let client = try await RawClient.connect(port)
            client.send(Self.post("/echo", "Content-Length: 10", body: "0123"))
            client.send("456789")
            try await client.isAnswered
            client.send(Self.post("/echo", "Content-Length: 0"))
            // The answer to a GET ends the connection; it comes when those before it have come.
            client.send(
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            let all = try await client.all
            let answers = all.components(separatedBy: "HTTP/1.1 200 OK")
            try #require(answers.count == 4)
            #expect(answers[1].hasSuffix("\r\n\r\ngot 0123456789"))
            #expect(answers[2].hasSuffix("\r\n\r\ngot "))
            #expect(answers[3].hasSuffix("{\"a\":1}"))
        }
    }

    @Test func tellsWhoExpectsItToGoOn() async throws {
        try await Self.serving { port in
            let client = try await RawClient.connect(port)
            client.send(Self.post("/echo", "Content-Length: 2", "Expect: 100-continue"))
            try await client.isAnswered
            client.send("ab")
            client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            let all = try await client.all
            #expect(all.hasPrefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"))
            #expect(all.contains("\r\n\r\ngot ab"))
        }
    }

    @Test(arguments: [
        ("/echo", "Content-Length: 11", 413),
        ("/echo", "Content-Length: 99999999999999999999", 411),
        ("/echo", "X: y", 411), ("/echo", "Transfer-Encoding: chunked", 411),
        ("/", "Content-Length: 1", 413), ("/else", "Content-Length: 1", 413),
        ("/else", "X: y", 404), ("/", "X: y", 405),
    ])
    func refuses(_ path: String, _ field: String, _ status: Int) async throws {
        try await Self.serving { port in
            let answer = try await RawClient.exchange(port, Self.post(path, field))
            // The parser refuses a length that is no number of 64 bits by itself.
            let isOverflow = field.hasSuffix("99999999999999999999")
            #expect(
                answer.hasPrefix("HTTP/1.1 \(status) ")
                    || isOverflow && answer.hasPrefix("HTTP/1.1 400 "), "\(answer)")
            #expect(answer.components(separatedBy: "HTTP/1.1 ").count == 2)
        }
    }

    @Test func takesBodiesByNoOtherMethod() async throws {
        try await Self.serving { port in
            for method in ["PUT", "PATCH", "GET"] {
                let answer = try await RawClient.exchange(
                    port, "\(method) /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
                #expect(answer.hasPrefix("HTTP/1.1 413 "), "\(method): \(answer)")
            }
        }
    }

    @Test func endsASecondPostThatDoesNotWaitForTheFirst() async throws {
        try await Self.serving { port in
            let one = Self.post("/echo", "Content-Length: 1", body: "a")
            let answer = try await RawClient.exchange(port, one + one)
            #expect(answer.components(separatedBy: "HTTP/1.1 200").count <= 2)
        }
    }
}
