import Foundation
import Logging
import NIOCore
import NIOPosix
import ServerEndpoints
import ServerStore
import ServiceRuntime
import Testing
import Transparency

@Suite("Two witnesses that listen")
struct WitnessEndpointTests {
    private static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static func log() throws -> NoteSigner {
        try NoteSigner(
            name: NoteKeyName("example.org/ledger"), algorithm: .ed25519,
            seed: [UInt8](repeating: 3, count: 32))
    }

    /// Runs `body` against witnesses of their own, and gives it their ports and keys.
    private static func serving(
        _ count: Int, _ body: @escaping @Sendable ([Int], [VerifierKey]) async throws -> Void
    ) async throws {
        let folder = NSTemporaryDirectory() + "cygnet-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let files = try (0..<count).map { number in
            try WitnessFile(
                folder: folder + "/\(number)", name: NoteKeyName("w\(number).test"),
                logs: [self.log().key], logger: self.silent)
        }
        let (bound, continuation) = AsyncStream.makeStream(of: (Int, Int).self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (number, file) in files.enumerated() {
                group.addTask {
                    try await WitnessEndpoint(
                        place: .tcp(host: "127.0.0.1", port: 0), certificate: nil,
                        logger: self.silent,
                        latest: { file.latest(originDigest: $0) }, answer: { file.answer($0) }
                    ).run { continuation.yield((number, $0)) }
                }
            }
            group.addTask {
                var ports: [Int: Int] = [:]
                for await (number, port) in bound {
                    ports[number] = port
                    guard ports.count == count else { continue }
                    return try await body(
                        (0..<count).compactMap { ports[$0] }, files.map(\.key))
                }
            }
            try await group.next()
            group.cancelAll()
        }
    }

    /// Sends a request and reads until the witness closes: status and body.
    private static func ask(_ port: Int, _ head: String, _ body: [UInt8] = []) async throws -> (
        status: Int, body: String
    ) {
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let promise = loop.makePromise(of: String.self)
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(Collector(promise))
                    }
                }.connect(host: "127.0.0.1", port: port).get()
        } catch {
            promise.fail(error)
            throw error
        }
        let request = Array((head + " HTTP/1.0\r\nContent-Length: \(body.count)\r\n\r\n").utf8)
        channel.writeAndFlush(ByteBuffer(bytes: request + body), promise: nil)
        let answer = try await promise.futureResult.get()
        let parts = answer.components(separatedBy: "\r\n\r\n")
        let status = parts[0].split(separator: " ").dropFirst().first.flatMap { Int($0) }
        return (try #require(status), parts.dropFirst().joined(separator: "\r\n\r\n"))
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let promise: EventLoopPromise<String>
        private var bytes = ByteBuffer()

        init(_ promise: EventLoopPromise<String>) { self.promise = promise }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var buffer = self.unwrapInboundIn(data)
            self.bytes.writeBuffer(&buffer)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }

        func handlerRemoved(context: ChannelHandlerContext) {
            self.promise.succeed(String(buffer: self.bytes))
        }
    }

    /// A log of one leaf, asked for as a log's first checkpoint.
    private static func request(_ leaf: UInt8) throws -> AddCheckpointRequest {
        let signer = try self.log()
        let note = try SignedCheckpoint(
            Checkpoint(origin: signer.key.name.text, size: 1, root: .leaf([leaf])), signer: signer
        ).note
        return AddCheckpointRequest(oldSize: 0, path: [], note: note)
    }

    @Test("a log that shows each of them another history gets no quorum for either")
    func equivocation() async throws {
        try await Self.serving(2) { ports, keys in
            let verifier = try ProofVerifier(key: Self.log().key, witnesses: keys, quorum: 2)
            let histories = [try Self.request(1), try Self.request(2)]
            var notes = histories.map(\.note)
            // Each witness sees its own history first, and then the other one.
            for (index, port) in ports.enumerated() {
                let own = try await Self.ask(
                    port, "POST /add-checkpoint", histories[index].bytes)
                #expect(own.status == 200)
                let lines = try WitnessAnswer.signatures(
                    Array(own.body.utf8), over: notes[index], by: [keys[index]])
                notes[index] = try notes[index].adding(lines)
                let other = AddCheckpointRequest(
                    oldSize: 1, path: [], note: histories[1 - index].note)
                let refused = try await Self.ask(port, "POST /add-checkpoint", other.bytes)
                #expect(refused.status == 422)
                let stale = try await Self.ask(
                    port, "POST /add-checkpoint", histories[1 - index].bytes)
                #expect(stale.status == 409 && stale.body == "1\n")
            }
            for note in notes {
                let error = #expect(throws: TransparencyError.self) { try verifier.signed(note) }
                #expect(error?.code == .noQuorum)
            }
        }
    }

    @Test("an honest log gets its quorum, and monitors see what was cosigned")
    func quorum() async throws {
        try await Self.serving(2) { ports, keys in
            let request = try Self.request(1)
            var note = request.note
            for (port, key) in zip(ports, keys) {
                let answer = try await Self.ask(port, "POST /add-checkpoint", request.bytes)
                note = try note.adding(
                    WitnessAnswer.signatures(Array(answer.body.utf8), over: note, by: [key]))
            }
            let verifier = try ProofVerifier(key: Self.log().key, witnesses: keys, quorum: 2)
            #expect(try verifier.signed(note).1.count == 2)
            // SHA-256 of "example.org/ledger", by another program.
            let digest = "72f2b953c1a01842bd1b3b8ad3fa78c17e3e0aab4570e4633a03dc59dccd1aa0"
            let seen = try await Self.ask(ports[0], "GET /\(digest)/checkpoint")
            let latest = try SignedNote(parsing: Array(seen.body.utf8))
            #expect(seen.status == 200 && latest.text == note.text)
            #expect(try latest.verified(by: [keys[0]]).count == 1)
            for path in [
                "/\(String(repeating: "0", count: 64))/checkpoint", "/\(digest)/Checkpoint",
                "/\(digest.uppercased())/checkpoint", "/\(digest)", "/checkpoint", "/",
            ] {
                #expect(try await Self.ask(ports[0], "GET \(path)").status == 404, "\(path)")
            }
            #expect(try await Self.ask(ports[0], "GET /add-checkpoint").status == 405)
        }
    }

    @Test("what is no request is refused as such")
    func malformed() async throws {
        try await Self.serving(1) { ports, _ in
            for body in [
                "", "old", "old 0", "old 0\n\n", "old 1e3\n\nx\n", "\u{0}\n", "old 0\nAA\n\n",
            ] {
                let answer = try await Self.ask(
                    ports[0], "POST /add-checkpoint", Array(body.utf8))
                #expect(answer.status == 400 && answer.body.hasSuffix("\n"), "\(body)")
            }
        }
    }
}
