import Foundation
import GRPCCore
import NIOConcurrencyHelpers
import SPIFFE
import WorkloadAPIProto

/// How an open stream is made to end.
enum FakeStreamEnd: Sendable {
    case end
    case failure(RPCError)
}

/// The streams of one method: each gets the present state and what follows it.
final class FakeStreams<Message: Sendable>: Sendable {
    private enum Event: Sendable {
        case message(Message)
        case finished(FakeStreamEnd)
    }

    private struct State {
        var current: Result<Message, RPCError>
        var streams: [Int: AsyncStream<Event>.Continuation] = [:]
        var next = 0
    }

    private let state: NIOLockedValueBox<State>

    /// - Parameter failure: What streams hear until something is set.
    init(_ failure: FakeWorkloadAPI.Failure = .noIdentity) {
        self.state = NIOLockedValueBox(State(current: .failure(failure.rpcError)))
    }

    /// Sets what new streams begin with, and tells the open ones.
    func set(_ outcome: Result<Message, RPCError>) {
        self.state.withLockedValue { state in
            state.current = outcome
            for stream in state.streams.values { stream.yield(Self.event(outcome)) }
        }
    }

    /// Ends the open streams; what new ones begin with stays.
    func interrupt(_ end: FakeStreamEnd) {
        self.state.withLockedValue { state in
            for stream in state.streams.values { stream.yield(.finished(end)) }
        }
    }

    /// Serves one stream until it is made to end or its client is gone.
    func serve(to writer: RPCWriter<Message>) async throws {
        let (events, continuation) = AsyncStream.makeStream(of: Event.self)
        let key = self.state.withLockedValue { state in
            defer { state.next += 1 }
            state.streams[state.next] = continuation
            continuation.yield(Self.event(state.current))
            return state.next
        }
        defer { _ = self.state.withLockedValue { $0.streams.removeValue(forKey: key) } }
        try await withRPCCancellationHandler {
            for await event in events {
                switch event {
                case .message(let message): try await writer.write(message)
                case .finished(.end): return
                case .finished(.failure(let error)): throw error
                }
            }
        } onCancelRPC: {
            continuation.finish()
        }
    }

    private static func event(_ outcome: Result<Message, RPCError>) -> Event {
        switch outcome {
        case .success(let message): .message(message)
        case .failure(let error): .finished(.failure(error))
        }
    }
}

/// Everything of the fake that is no stream.
struct FakeState: Sendable {
    typealias Issue = @Sendable ([String], SPIFFEID?) throws -> [SPIFFE.JWTSVID]

    var jwtBundles = JWTBundleSet()
    var issue: Issue?
    var failures: [FakeWorkloadAPI.Method: FakeWorkloadAPI.Failure] = [:]
    var delays: [FakeWorkloadAPI.Method: Duration] = [:]
    /// The security header of each call.
    var calls: [FakeWorkloadAPI.Method: [[String]]] = [:]
    /// Who waits for calls.
    var watchers: [UUID: AsyncStream<Void>.Continuation] = [:]
    var rawTokens: WorkloadAPIProto.JWTSVIDResponse?
    var rawValidation: ValidateJWTSVIDResponse?
}
