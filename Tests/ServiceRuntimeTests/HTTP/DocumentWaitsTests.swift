import Foundation
import Logging
import NIOConcurrencyHelpers
import Testing

@testable import ServiceRuntime

/// Requests that wait for the document to change (RFC 7240 §4.3).
@Suite(.timeLimit(.minutes(2))) struct DocumentWaitsTests {
    /// A listener with one document, which tests change.
    struct Running: Sendable {
        let port: Int
        let waits: DocumentWaits
        let version: NIOLockedValueBox<Int>

        func change() {
            self.version.withLockedValue { $0 += 1 }
            self.waits.changed()
        }

        /// Returns when so many requests wait.
        func waiting(_ count: Int) async throws {
            while self.waits.count != count { try await Task.sleep(for: .milliseconds(2)) }
        }
    }

    private static func serving(
        _ limits: DocumentLimits = DocumentLimits(),
        _ body: @escaping @Sendable (Running) async throws -> Void
    ) async throws {
        let waits = DocumentWaits()
        let version = NIOLockedValueBox(1)
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        let listener = DocumentListener(
            purpose: "a test", place: .tcp(host: "127.0.0.1", port: 0), limits: limits,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, waits: waits
        ) { request in
            guard request.path == "/" else { return nil }
            let number = version.withLockedValue { $0 }
            return DocumentResponse(
                contentType: "text/plain", body: Array("v\(number)".utf8),
                entityTag: "\"\(number)\"")
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await listener.run { continuation.yield($0) } }
            group.addTask {
                for await port in ports {
                    return try await body(Running(port: port, waits: waits, version: version))
                }
            }
            try await group.next()
            group.cancelAll()
        }
        // Every place is given back.
        while waits.count > 0 { try await Task.sleep(for: .milliseconds(2)) }
    }

    /// A request that has version 1, and ends the connection.
    private static func patient(_ wait: String = "wait=60") -> String {
        DocumentListenerTests.get(
            "/", "If-None-Match: \"1\"", "Prefer: \(wait)", "Connection: close")
    }

    /// The same on a connection that stays.
    private static let lasting = DocumentListenerTests.get(
        "/", "If-None-Match: \"1\"", "Prefer: wait=60")

    @Test func answersWhenTheDocumentChanges() async throws {
        try await Self.serving { running in
            let client = try await RawClient.connect(running.port, sending: Self.patient())
            try await running.waiting(1)
            // Nothing has changed: it goes on waiting.
            running.waits.changed()
            let other = try await RawClient.exchange(
                running.port, DocumentListenerTests.get("/", "Connection: close"))
            #expect(DocumentListenerTests.body(other) == "v1", "nobody else waits")
            try await running.waiting(1)
            running.change()
            let answer = try await client.all
            #expect(answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix("\r\n\r\nv2"))
            #expect(answer.contains("\r\npreference-applied: wait=60\r\n"))
        }
    }

    @Test func answersThatNothingIsNewWhenTheTimeIsOver() async throws {
        var limits = DocumentLimits()
        limits.maximumWait = .seconds(1)
        try await Self.serving(limits) { running in
            let answer = try await RawClient.exchange(running.port, Self.patient("wait=3600"))
            #expect(answer.hasPrefix("HTTP/1.1 304"))
            #expect(answer.contains("\r\npreference-applied: wait=1\r\n"), "bounded")
        }
    }

    @Test(
        "Who does not ask for it, or has another version, is answered at once",
        arguments: [
            (["If-None-Match: \"1\""], "304", nil),
            (["If-None-Match: \"1\"", "Prefer: wait=0"], "304", "wait=0"),
            (["If-None-Match: \"1\"", "Prefer: wait=soon"], "304", nil),
            (["If-None-Match: \"1\"", "Prefer: respond-async"], "304", nil),
            (["If-None-Match: \"0\"", "Prefer: wait=60"], "200", "wait=60"),
            (["Prefer: wait=60"], "200", "wait=60"),
        ] as [([String], String, String?)])
    func answersAtOnce(_ fields: [String], _ status: String, _ applied: String?) async throws {
        try await Self.serving { running in
            let request =
                "GET / HTTP/1.1\r\nHost: x\r\n"
                + (fields + ["Connection: close"]).map { $0 + "\r\n" }.joined() + "\r\n"
            let answer = try await RawClient.exchange(running.port, request)
            #expect(answer.hasPrefix("HTTP/1.1 \(status)"))
            if let applied {
                #expect(answer.contains("\r\npreference-applied: \(applied)\r\n"))
            } else {
                #expect(!answer.contains("preference-applied"))
            }
        }
    }

    @Test func boundsThoseWhoWait() async throws {
        for isTotal in [true, false] {
            var limits = DocumentLimits()
            if isTotal { limits.maximumWaiting = 2 } else { limits.maximumWaitingPerAddress = 2 }
            try await Self.serving(limits) { running in
                var held: [RawClient] = []
                for count in 1...2 {
                    let client = try await RawClient.connect(running.port, sending: Self.patient())
                    try await running.waiting(count)
                    held.append(client)
                }
                let third = try await RawClient.exchange(running.port, Self.patient())
                #expect(third.hasPrefix("HTTP/1.1 304") && !third.contains("preference-applied"))
                running.change()
                for client in held { #expect(try await client.all.hasPrefix("HTTP/1.1 200")) }
                try await running.waiting(0)
            }
        }
    }

    @Test func forgetsWhoeverGoesAway() async throws {
        try await Self.serving { running in
            for _ in 0..<3 {
                let client = try await RawClient.connect(running.port, sending: Self.patient())
                try await running.waiting(1)
                client.close()
                try await running.waiting(0)
            }
        }
    }

    @Test func theNextRequestEndsTheWaitOfTheOneBeforeIt() async throws {
        try await Self.serving { running in
            let answer = try await RawClient.exchange(
                running.port,
                DocumentListenerTests.get("/", "If-None-Match: \"1\"", "Prefer: wait=60")
                    + DocumentListenerTests.get("/missing"))
            let parts = answer.components(separatedBy: "HTTP/1.1 ").dropFirst()
            #expect(parts.map { $0.prefix(3) } == ["304", "404"], "in their order")
        }
    }

    @Test func aRequestThatIsBrokenEndsTheWaitToo() async throws {
        try await Self.serving { running in
            let client = try await RawClient.connect(
                running.port, sending: Self.lasting)
            try await running.waiting(1)
            client.send("nonsense\r\n\r\n")
            let parts = try await client.all.components(separatedBy: "HTTP/1.1 ").dropFirst()
            #expect(parts.map { $0.prefix(3) } == ["304", "400"])
        }
    }

    @Test func aRequestThatIsNeverFinishedEndsTheWait() async throws {
        var limits = DocumentLimits()
        limits.requestTimeout = .seconds(2)
        try await Self.serving(limits) { running in
            let client = try await RawClient.connect(
                running.port, sending: Self.lasting)
            try await running.waiting(1)
            client.send("GET / HT")
            #expect(try await client.all.isEmpty, "slow")
            try await running.waiting(0)
        }
    }

    @Test func theEndOfTheListenerAnswers() async throws {
        let client = NIOLockedValueBox<RawClient?>(nil)
        try await Self.serving { running in
            let waiting = try await RawClient.connect(
                running.port, sending: Self.lasting)
            try await running.waiting(1)
            client.withLockedValue { $0 = waiting }
        }
        let answer = try await #require(client.withLockedValue { $0 }).all
        #expect(answer.hasPrefix("HTTP/1.1 304") && answer.contains("connection: close"))
    }
}
