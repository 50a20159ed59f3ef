import AgentCore
package import GRPCCore
import NIOConcurrencyHelpers
import SPIFFEGRPC

/// The Workload API on grpc-swift: carries bytes between ``WorkloadAPI`` and the wire.
package struct WorkloadAPIService: RegistrableRPCService {
    private static let service = ServiceDescriptor(fullyQualifiedService: "SpiffeWorkloadAPI")

    private let api: WorkloadAPI

    package init(_ api: WorkloadAPI) { self.api = api }

    package func registerMethods<Transport: ServerTransport>(
        with router: inout RPCRouter<Transport>
    ) {
        for method in WorkloadMethod.allCases {
            router.registerHandler(
                forMethod: MethodDescriptor(service: Self.service, method: method.rawValue),
                deserializer: BytesCoding(), serializer: BytesCoding()
            ) { request, context in
                switch method {
                case .fetchJWTSVID, .validateJWTSVID:
                    return try await self.answer(method, request, context)
                case .fetchX509SVID, .fetchX509Bundles, .fetchJWTBundles, .fetchWITSVID,
                    .fetchWITBundles:
                    return try await self.stream(method, request, context)
                }
            }
        }
    }

    private func answer(
        _ method: WorkloadMethod, _ request: StreamingServerRequest<[UInt8]>,
        _ context: ServerContext
    ) async throws -> StreamingServerResponse<[UInt8]> {
        let call = try Self.call(method, request, context)
        var messages = request.messages.makeAsyncIterator()
        let message = try await messages.next() ?? []
        do {
            let answer = try await self.api.answer(call, request: message)
            return StreamingServerResponse { writer in
                try await writer.write(answer)
                return [:]
            }
        } catch {
            throw RPCError(error)
        }
    }

    private func stream(
        _ method: WorkloadMethod, _ request: StreamingServerRequest<[UInt8]>,
        _ context: ServerContext
    ) async throws -> StreamingServerResponse<[UInt8]> {
        let stream: WorkloadStream
        do { stream = try await self.api.open(Self.call(method, request, context)) } catch {
            throw (error as? WorkloadRefusal).map { RPCError($0) } ?? error
        }
        return StreamingServerResponse { writer in
            // The end of the call ends the loop; without this it would wait for ever.
            try await withRPCCancellationHandler {
                do {
                    try await stream.forEach { try await writer.write($0) }
                } catch let refusal as WorkloadRefusal {
                    throw RPCError(refusal)
                }
            } onCancelRPC: {
                stream.close()
            }
            return [:]
        }
    }

    private static func call(
        _ method: WorkloadMethod, _ request: StreamingServerRequest<[UInt8]>,
        _ context: ServerContext
    ) throws -> WorkloadCall {
        guard case .local(let peer)? = context.peerContext?.peer else {
            throw RPCError(code: .unavailable, message: "caller cannot be identified")
        }
        return WorkloadCall(
            method: method,
            securityHeader: Array(request.metadata[stringValues: "workload.spiffe.io"]),
            process: PeerProcess(peer))
    }
}

extension RPCError {
    /// The one table from refusals to gRPC status.
    init(_ refusal: WorkloadRefusal) {
        let code: RPCError.Code
        switch refusal.code {
        case .invalidArgument: code = .invalidArgument
        case .noIdentity: code = .permissionDenied
        case .unavailable: code = .unavailable
        case .unimplemented: code = .unimplemented
        case .internal: code = .internalError
        }
        self.init(code: code, message: refusal.message)
    }
}

/// Passes bytes through: messages are serialised before they come here, once for all streams.
private struct BytesCoding: MessageSerializer, MessageDeserializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Bytes {
        Bytes(message)
    }

    func deserialize<Bytes: GRPCContiguousBytes>(_ serializedMessageBytes: Bytes) throws -> [UInt8]
    {
        serializedMessageBytes.withUnsafeBytes { Array($0) }
    }
}
