import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOHPACK
import SPIFFEGRPC
import Testing

/// Answers nothing, and tells of its beginning and of its cancellation.
private struct Endless: EventLoopService {
    let name = "test.Endless"
    let events: AsyncStream<String>.Continuation

    func handler(
        for call: GRPCCall, fields: HPACKHeaders
    ) -> (any GRPCCallHandler)? {
        UnaryCallHandler(call) { [events] _, _ in
            events.yield("begun")
            do { try await Task.sleep(for: .seconds(86_400)) } catch {
                events.yield("\(type(of: error))")
                throw error
            }
            return []
        }
    }
}

@Suite("Cancellation of unary calls", .timeLimit(.minutes(1))) struct UnaryCancellationTests {
    @Test("the work of a call whose client is gone is cancelled")
    func cancelled() async throws {
        let path = NSTemporaryDirectory() + "cygnet-\(UUID().uuidString.prefix(8)).sock"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let events = AsyncStream.makeStream(of: String.self)
        let server = GRPCServer(
            transport: SPIFFEServerTransport(
                listener: .unixSocket(path: path, mode: 0o600),
                services: [Endless(events: events.continuation)]), services: [])
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await server.serve() }
            _ = await server.transport.boundPort
            let transport = try HTTP2ClientTransport.Posix(
                target: .unixDomainSocket(path: path, authority: "localhost"),
                transportSecurity: .plaintext)
            try await withGRPCClient(transport: transport) { client in
                let call = Task {
                    try await client.unary(
                        request: ClientRequest(message: [1]),
                        descriptor: MethodDescriptor(
                            service: ServiceDescriptor(fullyQualifiedService: "test.Endless"),
                            method: "Wait"),
                        serializer: Raw(), deserializer: Raw(), options: .defaults
                    ) { response in _ = try response.message }
                }
                var seen = events.stream.makeAsyncIterator()
                let first = await seen.next()
                #expect(first == "begun")
                call.cancel()
                let second = await seen.next()
                #expect(second == "CancellationError")
                await #expect(throws: (any Error).self) { try await call.value }
            }
        }
    }
}
