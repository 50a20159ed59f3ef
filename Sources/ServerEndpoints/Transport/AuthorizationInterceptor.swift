import Foundation
package import GRPCCore
package import Logging
import SPIFFE
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

/// Stands before every service: finds out who calls, checks the policy and the rate limits, maps errors and logs.
package struct AuthorizationInterceptor: ServerInterceptor {
    private let policy: CallerPolicy
    private let limits: RateLimits
    private let logger: Logger
    private let logsAccess: Bool

    /// - Parameter logsAccess: whether every call is logged (`audit_log_enabled`).
    package init(policy: CallerPolicy, limits: RateLimits, logger: Logger, logsAccess: Bool) {
        self.policy = policy
        self.limits = limits
        self.logger = logger
        self.logsAccess = logsAccess
    }

    package func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws ->
            StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let method = context.descriptor.fullyQualifiedMethod
        let requestID = String(UInt64.random(in: .min ... .max), radix: 16)
        var name = "unknown"
        do {
            guard let peer = context.peerContext else {
                throw ServerError(.internal, "call without peer")
            }
            let caller = Self.caller(peer)
            name = caller.name
            let authorized = try await self.policy.authorize(caller, method: method)
            if let address = peer.remoteIPAddress {
                try await self.limits.wait(method: method, address: address)
            }
            var context = context
            context.transportSpecific = CallContext(
                caller: authorized, remoteIPAddress: peer.remoteIPAddress, requestID: requestID)
            if self.logsAccess { self.audit(method, requestID, authorized) }
            var response = try await next(request, context)
            // A streaming method does its work while the response is written, after this function has returned.
            if case .success(var contents) = response.accepted {
                let produce = contents.producer
                let caller = name
                contents.producer = { writer in
                    do {
                        return try await produce(writer)
                    } catch {
                        throw self.rpcError(
                            error, method: method, requestID: requestID, caller: caller)
                    }
                }
                response.accepted = .success(contents)
            }
            return response
        } catch {
            throw self.rpcError(error, method: method, requestID: requestID, caller: name)
        }
    }

    /// The status for an error, which is logged when it is ours to explain.
    private func rpcError(
        _ error: any Error, method: String, requestID: String, caller: String
    ) -> any Error {
        switch error {
        case let error as ServerError:
            self.log(error, method: method, requestID: requestID, caller: caller)
            return error.rpcError(reference: requestID)
        case is any RPCErrorConvertible: return error
        case is CancellationError: return RPCError(code: .cancelled, message: "call was cancelled")
        default:
            let internalError = ServerError(.internal, "\(error)")
            self.log(internalError, method: method, requestID: requestID, caller: caller)
            return internalError.rpcError(reference: requestID)
        }
    }

    private static func caller(_ peer: PeerContext) -> Caller {
        switch peer.peer {
        case .local(let local): .local(uid: local.uid, pid: local.pid)
        case .tls(nil): .anonymous
        case .tls(let verified?):
            .svid(
                verified.id, serial: hex(verified.leaf.serialNumber.bytes.drop { $0 == 0 }),
                expiresAt: Int64(verified.leaf.notValidAfter.timeIntervalSince1970))
        }
    }

    private func log(_ error: ServerError, method: String, requestID: String, caller: String) {
        let level: Logger.Level =
            switch error.code {
            case .internal, .unavailable: .error
            case .permissionDenied: .warning
            default: .debug
            }
        self.logger.log(
            level: level, "call failed",
            metadata: [
                LogKeys.method: "\(method)", LogKeys.requestID: "\(requestID)",
                LogKeys.caller: "\(caller)", LogKeys.error: "\(error.message)",
            ])
    }

    private func audit(
        _ method: String, _ requestID: String, _ caller: AuthorizedCaller
    ) {
        self.logger.info(
            "API accessed",
            metadata: [
                "type": "audit", LogKeys.method: "\(method)", LogKeys.requestID: "\(requestID)",
                LogKeys.caller: "\(caller.caller.name)",
                "authorized_as": "\(caller.authorizedAs.rawValue)",
            ])
    }
}
