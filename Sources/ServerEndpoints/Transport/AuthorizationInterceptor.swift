package import GRPCCore
import SPIFFEGRPC
package import ServerCore
import X509

/// What the interceptor hands to the services: who was let through.
package struct CallContext: ServerContext.TransportSpecific {
    package let caller: AuthorizedCaller
    /// The remote IP address, or nil on the admin socket.
    package let remoteIPAddress: String?
    /// Names the call in the log.
    package let requestID: String
    /// What the caller's SVID rests on, if it showed one.
    let anchor: TrustAnchor?

    /// ID of the X.509 authority that the caller's SVID rests on; nil when there is none.
    var x509AuthorityID: String? { self.anchor?.authorityID }
}

extension ServerContext {
    /// The call as the interceptor let it through.
    ///
    /// - Throws: an internal error when there was no interceptor; a service never runs unauthorised.
    var call: CallContext {
        get throws(ServerError) {
            guard let call = self.transportSpecific as? CallContext else {
                throw ServerError(.internal, "service without authorisation interceptor")
            }
            return call
        }
    }
}

/// Puts the ``CallGate`` before every service that gRPC's router serves.
package struct AuthorizationInterceptor: ServerInterceptor {
    private static let syncMethod = "cygnet.sync.v1.Sync/Connect"

    private let gate: CallGate

    package init(_ gate: CallGate) { self.gate = gate }

    package func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws ->
            StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let method = context.descriptor.fullyQualifiedMethod
        let requestID = CallGate.requestID()
        var name = "unknown"
        do {
            guard let peer = context.peerContext else {
                throw ServerError(.internal, "call without peer")
            }
            let caller = CallGate.caller(peer)
            name = caller.name
            var context = context
            let call = try await self.gate.admit(
                caller, peer, method: method, requestID: requestID)
            context.transportSpecific = call
            let admitted = context
            let digest = RequestDigest()
            var request = request
            let isRecorded = OperatorLog.covers(method)
            // The stream of an agent ends by itself with what it rests on; every other request is asked about when it
            // is there.
            if isRecorded || method != Self.syncMethod {
                let gate = self.gate
                request.messages = RPCAsyncSequence(
                    wrapping: request.messages.map { message in
                        try await gate.recheck(caller, call, method: method)
                        if isRecorded { digest.add(message) }
                        return message
                    })
            }
            let read = request
            var response = try await self.gate.recorded(
                call.caller, method: method, digest: { digest.bytes }
            ) {
                let response = try await next(read, admitted)
                // A service that throws makes a response of it.
                if case .failure(let error) = response.accepted { throw error }
                return response
            }
            // A streaming method does its work while the response is written, after this function has returned.
            if case .success(var contents) = response.accepted {
                let produce = contents.producer
                let caller = name
                contents.producer = { writer in
                    do {
                        return try await ChangeActor.$name.withValue(caller) {
                            try await produce(writer)
                        }
                    } catch {
                        throw self.gate.rpcError(
                            error, method: method, requestID: requestID, caller: caller)
                    }
                }
                response.accepted = .success(contents)
            }
            return response
        } catch {
            throw self.gate.rpcError(error, method: method, requestID: requestID, caller: name)
        }
    }
}
