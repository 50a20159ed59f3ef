import ControlPlaneProto
import Foundation
import GRPCCore
import NIOConcurrencyHelpers
import SwiftProtobuf

/// gRPC server reflection on one of the agent's sockets (SPIFFE Workload Endpoint §7, Broker Endpoint §7): which
/// services there are and what their messages look like. Tells what the standard and `Protos` say anyway, so it
/// asks nothing of the caller.
///
/// The descriptors are parsed when somebody asks for the first time.
final class ReflectionService: Sendable {
    /// Streams that may be open at a time, of all callers together. Each can hold unread questions and answers,
    /// nobody needs one for long, and whoever may connect may open one.
    static let maximumStreams = 64

    private let descriptors: StaticString
    private let index = NIOLockedValueBox<DescriptorIndex?>(nil)
    private let openStreams = NIOLockedValueBox(0)

    /// - Parameter descriptors: A `google.protobuf.FileDescriptorSet` in base64.
    init(_ descriptors: StaticString) { self.descriptors = descriptors }

    private func loaded() throws -> DescriptorIndex {
        try self.index.withLockedValue { index in
            if let index { return index }
            let text = self.descriptors.description
            let made = try DescriptorIndex(descriptorSet: Data(base64Encoded: text) ?? Data())
            index = made
            return made
        }
    }

    /// Runs a stream if there are not too many.
    ///
    /// - Throws: `RPCError` `resourceExhausted`, or what the stream throws.
    func withStream(_ stream: () async throws -> Void) async throws {
        let isAllowed = self.openStreams.withLockedValue { open in
            if open >= Self.maximumStreams { return false }
            open += 1
            return true
        }
        guard isAllowed else {
            throw RPCError(
                code: .resourceExhausted,
                message: "\(Self.maximumStreams) reflection streams are open; try again later")
        }
        defer { self.openStreams.withLockedValue { $0 -= 1 } }
        try await stream()
    }

    /// Answers one question.
    ///
    /// - Parameter sent: Names of files that this stream has been sent, which it need not be sent again.
    func answer(
        _ request: Grpc_Reflection_V1_ServerReflectionRequest, sent: inout Set<String>
    ) -> Grpc_Reflection_V1_ServerReflectionResponse {
        .with {
            $0.validHost = request.host
            $0.originalRequest = request
            do {
                $0.messageResponse = try self.answer(request.messageRequest, &sent)
            } catch let missing as DescriptorIndex.NotFound {
                $0.errorResponse = .with {
                    $0.errorCode = Int32(Status.Code.notFound.rawValue)
                    $0.errorMessage = missing.message
                }
            } catch {
                $0.errorResponse = .with {
                    $0.errorCode = Int32(Status.Code.internalError.rawValue)
                    $0.errorMessage = "cannot read the descriptors of this program"
                }
            }
        }
    }

    private func answer(
        _ question: Grpc_Reflection_V1_ServerReflectionRequest.OneOf_MessageRequest?,
        _ sent: inout Set<String>
    ) throws -> Grpc_Reflection_V1_ServerReflectionResponse.OneOf_MessageResponse {
        let index = try self.loaded()
        switch question {
        case .listServices:
            return .listServicesResponse(
                .with { $0.service = index.services.map { name in .with { $0.name = name } } })
        case .fileByFilename(let name):
            return .fileDescriptorResponse(self.unsent(try index.files(named: name), &sent))
        case .fileContainingSymbol(let symbol):
            let file = try index.file(declaring: symbol)
            return .fileDescriptorResponse(self.unsent(try index.files(named: file), &sent))
        case .fileContainingExtension(let wanted):
            try index.requireMessage(wanted.containingType)
            throw DescriptorIndex.NotFound(
                message: "\(wanted.containingType) has no extension \(wanted.extensionNumber)")
        case .allExtensionNumbersOfType(let name):
            try index.requireMessage(name)
            return .allExtensionNumbersResponse(.with { $0.baseTypeName = name })
        case nil:
            return .errorResponse(
                .with {
                    $0.errorCode = Int32(Status.Code.invalidArgument.rawValue)
                    $0.errorMessage = "the request asks nothing; set one field of message_request"
                })
        }
    }

    /// The file asked for always; of the others those that the stream does not have yet.
    private func unsent(
        _ files: [(name: String, bytes: [UInt8])], _ sent: inout Set<String>
    ) -> Grpc_Reflection_V1_FileDescriptorResponse {
        .with { response in
            for (position, file) in files.enumerated() {
                let isNew = sent.insert(file.name).inserted
                if isNew || position == 0 { response.fileDescriptorProto.append(Data(file.bytes)) }
            }
        }
    }
}

/// `grpc.reflection.v1.ServerReflection`.
struct ReflectionV1: Grpc_Reflection_V1_ServerReflection.SimpleServiceProtocol {
    let service: ReflectionService

    func serverReflectionInfo(
        request: RPCAsyncSequence<Grpc_Reflection_V1_ServerReflectionRequest, any Error>,
        response: RPCWriter<Grpc_Reflection_V1_ServerReflectionResponse>, context: ServerContext
    ) async throws {
        try await self.service.withStream {
            var sent: Set<String> = []
            for try await question in request {
                try await response.write(self.service.answer(question, sent: &sent))
            }
        }
    }
}

/// `grpc.reflection.v1alpha.ServerReflection`, which older tools know: the same messages under another name.
struct ReflectionV1Alpha: Grpc_Reflection_V1alpha_ServerReflection.SimpleServiceProtocol {
    let service: ReflectionService

    func serverReflectionInfo(
        request: RPCAsyncSequence<Grpc_Reflection_V1alpha_ServerReflectionRequest, any Error>,
        response: RPCWriter<Grpc_Reflection_V1alpha_ServerReflectionResponse>,
        context: ServerContext
    ) async throws {
        try await self.service.withStream {
            var sent: Set<String> = []
            for try await question in request {
                let question = try Grpc_Reflection_V1_ServerReflectionRequest(
                    serializedBytes: question.serializedBytes() as [UInt8])
                let answer = self.service.answer(question, sent: &sent)
                try await response.write(
                    Grpc_Reflection_V1alpha_ServerReflectionResponse(
                        serializedBytes: answer.serializedBytes() as [UInt8]))
            }
        }
    }
}
