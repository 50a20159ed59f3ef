import Foundation
import GRPCCore
package import Logging
package import SPIFFE
import SPIFFEGRPC
package import ServerCore
import X509

/// What every call passes before it reaches a service: who calls is found out, the policy and the rate limits are
/// asked, errors are mapped and logged.
package struct CallGate: Sendable {
    private let policy: CallerPolicy
    private let bundles: any X509BundleSource
    private let limits: RateLimits
    private let logger: Logger
    private let logsAccess: Bool

    /// - Parameters:
    ///   - bundles: As they are now; a caller whose authority has left them is refused.
    ///   - logsAccess: whether every call is logged (`audit_log_enabled`).
    package init(
        policy: CallerPolicy, bundles: any X509BundleSource, limits: RateLimits, logger: Logger,
        logsAccess: Bool
    ) {
        self.policy = policy
        self.bundles = bundles
        self.limits = limits
        self.logger = logger
        self.logsAccess = logsAccess
    }

    /// Lets a call through and runs it.
    ///
    /// - Parameter method: `package.Service/Method`.
    /// - Throws: the status the caller is to see, as `RPCError` or convertible to it.
    func pass<Value: Sendable>(
        _ peer: PeerContext, method: String,
        _ body: @Sendable (CallContext) async throws -> Value
    ) async throws -> Value {
        let id = Self.requestID()
        let caller = Self.caller(peer)
        do {
            return try await body(try await self.admit(caller, peer, method: method, requestID: id))
        } catch {
            throw self.rpcError(error, method: method, requestID: id, caller: caller.name)
        }
    }

    static func requestID() -> String { String(UInt64.random(in: .min ... .max), radix: 16) }

    /// - Throws: ``ServerError`` when the caller may not call the method, or too often.
    func admit(
        _ caller: Caller, _ peer: PeerContext, method: String, requestID: String
    ) async throws -> CallContext {
        var anchor: TrustAnchor?
        if case .tls(let verified) = peer.peer { anchor = TrustAnchor(verified) }
        try anchor?.check(self.bundles)
        let authorized = try await self.policy.authorize(caller, method: method)
        if let address = peer.remoteIPAddress {
            try await self.limits.wait(method: method, address: address)
        }
        if self.logsAccess { self.audit(method, requestID, authorized) }
        return CallContext(
            caller: authorized, remoteIPAddress: peer.remoteIPAddress, requestID: requestID,
            anchor: anchor)
    }

    /// The status for an error, which is logged when it is ours to explain.
    func rpcError(
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

    static func caller(_ peer: PeerContext) -> Caller {
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
