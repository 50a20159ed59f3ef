import Foundation
import GRPCCore
import NIOConcurrencyHelpers
import SPIFFE
import SwiftProtobuf
import WorkloadAPIProto

/// The fake as gRPC sees it.
struct FakeWorkloadAPIService: SpiffeWorkloadAPI.ServiceProtocol {
    let api: FakeWorkloadAPI

    /// Notes the call, refuses one without the security header as an agent does, and waits or fails if it is to.
    func begin(_ method: FakeWorkloadAPI.Method, _ metadata: Metadata) async throws {
        let header = metadata[stringValues: "workload.spiffe.io"].map { String($0) }
        let (delay, failure) = self.api.state.withLockedValue { state in
            state.calls[method, default: []].append(header)
            for watcher in state.watchers.values { watcher.yield() }
            return (state.delays[method], state.failures[method])
        }
        guard header == ["true"] else {
            throw RPCError(code: .invalidArgument, message: "security header missing")
        }
        if let delay { try await Task.sleep(for: delay) }
        if let failure { throw failure.rpcError }
    }

    // MARK: Streams

    func fetchX509SVID(
        request: ServerRequest<X509SVIDRequest>, context: ServerContext
    ) async throws -> StreamingServerResponse<X509SVIDResponse> {
        try await self.begin(.fetchX509SVID, request.metadata)
        return StreamingServerResponse { try await self.stream(self.api.x509, $0) }
    }

    func fetchX509Bundles(
        request: ServerRequest<X509BundlesRequest>, context: ServerContext
    ) async throws -> StreamingServerResponse<X509BundlesResponse> {
        try await self.begin(.fetchX509Bundles, request.metadata)
        return StreamingServerResponse { try await self.stream(self.api.x509Bundles, $0) }
    }

    func fetchJWTBundles(
        request: ServerRequest<JWTBundlesRequest>, context: ServerContext
    ) async throws -> StreamingServerResponse<JWTBundlesResponse> {
        try await self.begin(.fetchJWTBundles, request.metadata)
        return StreamingServerResponse { try await self.stream(self.api.jwtBundles, $0) }
    }

    func stream<Message>(
        _ streams: FakeStreams<Message>, _ writer: RPCWriter<Message>
    ) async throws -> Metadata {
        try await streams.serve(to: writer)
        return [:]
    }

    // MARK: Tokens

    func fetchJWTSVID(
        request: ServerRequest<JWTSVIDRequest>, context: ServerContext
    ) async throws -> ServerResponse<JWTSVIDResponse> {
        try await self.begin(.fetchJWTSVID, request.metadata)
        let (raw, issue) = self.api.state.withLockedValue { ($0.rawTokens, $0.issue) }
        if let raw { return ServerResponse(message: raw) }
        guard !request.message.audience.isEmpty else {
            throw FakeWorkloadAPI.Failure.invalidRequest.rpcError
        }
        let text = request.message.spiffeID
        let id = text.isEmpty ? nil : try? SPIFFEID(text)
        guard text.isEmpty || id != nil else {
            throw FakeWorkloadAPI.Failure.invalidRequest.rpcError
        }
        let svids = try issue?(request.message.audience, id) ?? []
        guard !svids.isEmpty else { throw FakeWorkloadAPI.Failure.noIdentity.rpcError }
        return ServerResponse(
            message: JWTSVIDResponse.with {
                $0.svids = svids.map { svid in
                    WorkloadAPIProto.JWTSVID.with {
                        $0.spiffeID = svid.id.string
                        $0.svid = svid.token
                        $0.hint = svid.hint
                    }
                }
            })
    }

    func validateJWTSVID(
        request: ServerRequest<ValidateJWTSVIDRequest>, context: ServerContext
    ) async throws -> ServerResponse<ValidateJWTSVIDResponse> {
        try await self.begin(.validateJWTSVID, request.metadata)
        let (raw, bundles) = self.api.state.withLockedValue { ($0.rawValidation, $0.jwtBundles) }
        if let raw { return ServerResponse(message: raw) }
        do {
            let svid = try SPIFFE.JWTSVID.validate(
                request.message.svid, audience: request.message.audience, bundles: bundles)
            return ServerResponse(message: ValidateJWTSVIDResponse(svid))
        } catch {
            throw RPCError(code: .invalidArgument, message: error.message)
        }
    }

    // MARK: WIT profile

    func fetchWITSVID(
        request: ServerRequest<WITSVIDRequest>, context: ServerContext
    ) async throws -> StreamingServerResponse<WITSVIDResponse> {
        try await self.begin(.fetchWITSVID, request.metadata)
        return StreamingServerResponse { try await self.stream(self.api.wit, $0) }
    }

    func fetchWITBundles(
        request: ServerRequest<WITBundlesRequest>, context: ServerContext
    ) async throws -> StreamingServerResponse<WITBundlesResponse> {
        try await self.begin(.fetchWITBundles, request.metadata)
        return StreamingServerResponse { try await self.stream(self.api.witBundles, $0) }
    }
}
