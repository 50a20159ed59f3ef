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
    private let issuer: Issuer
    private let log: OperatorLog

    /// - Parameters:
    ///   - bundles: As they are now; a caller whose authority has left them is refused.
    ///   - logsAccess: whether every call is logged (`audit_log_enabled`).
    ///   - issuer: knows how refused SVIDs are recorded.
    ///   - log: takes operators' calls.
    package init(
        policy: CallerPolicy, bundles: any X509BundleSource, limits: RateLimits, logger: Logger,
        logsAccess: Bool, issuer: Issuer, log: OperatorLog
    ) {
        self.policy = policy
        self.bundles = bundles
        self.limits = limits
        self.logger = logger
        self.logsAccess = logsAccess
        self.issuer = issuer
        self.log = log
    }

    /// Lets a call through and runs it.
    ///
    /// - Parameters:
    ///   - method: `package.Service/Method`.
    ///   - request: The request's bytes.
    /// - Throws: the status the caller is to see, as `RPCError` or convertible to it.
    func pass<Value: Sendable>(
        _ peer: PeerContext, method: String, request: [UInt8],
        _ body: @Sendable (CallContext) async throws -> Value
    ) async throws -> Value {
        let id = Self.requestID()
        let caller = Self.caller(peer)
        do {
            let context = try await self.admit(caller, peer, method: method, requestID: id)
            return try await self.recorded(
                context.caller, method: method, digest: { OperatorLog.digest(request) }
            ) {
                try await body(context)
            }
        } catch {
            throw self.rpcError(error, method: method, requestID: id, caller: caller.name)
        }
    }

    /// Runs a call as its caller's and records it when it is an operator's: before its result is returned.
    ///
    /// - Throws: what `body` throws, or ``ServerError`` `unavailable` when the call cannot be recorded.
    func recorded<Value: Sendable>(
        _ caller: AuthorizedCaller, method: String, digest: () -> [UInt8],
        _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        guard OperatorLog.covers(method) else {
            return try await ChangeActor.$name.withValue(caller.caller.name, operation: body)
        }
        let result: Result<Value, any Error>
        do {
            result = .success(
                try await ChangeActor.$name.withValue(caller.caller.name, operation: body))
        } catch {
            result = .failure(error)
        }
        do {
            try await self.log.record(
                caller, method: method, error: result.failure, digest: digest)
        } catch {
            // What failed keeps its own reason.
            if result.failure == nil { throw error }
        }
        return try result.get()
    }

    static func requestID() -> String { String(UInt64.random(in: .min ... .max), radix: 16) }

    /// - Throws: ``ServerError`` when the caller may not call the method, or too often.
    func admit(
        _ caller: Caller, _ peer: PeerContext, method: String, requestID: String
    ) async throws -> CallContext {
        do {
            return try await self.check(caller, peer, method: method, requestID: requestID)
        } catch let error as ServerError {
            self.log.refused(caller, method: method, error: error, issuer: self.issuer)
            throw error
        }
    }

    private func check(
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

    /// Asks again whether a call that was let through may go on: a request may come long after its call was opened.
    ///
    /// - Throws: ``ServerError`` as ``admit(_:_:method:requestID:)``.
    func recheck(_ caller: Caller, _ call: CallContext, method: String) async throws {
        guard case .svid(_, _, let expiresAt) = caller else { return }
        try call.anchor?.check(self.bundles)
        guard expiresAt > Int64(Date().timeIntervalSince1970) else {
            throw ServerError(.permissionDenied, "the caller's SVID has expired")
        }
        _ = try await self.policy.authorize(caller, method: method)
    }

    /// The status for an error, which is logged when it is ours to explain.
    func rpcError(
        _ error: any Error, method: String, requestID: String, caller: String
    ) -> any Error {
        switch error {
        case let error as ServerError:
            self.tell(error, method: method, requestID: requestID, caller: caller)
            return error.rpcError(reference: requestID)
        case is any RPCErrorConvertible: return error
        case is CancellationError: return RPCError(code: .cancelled, message: "call was cancelled")
        default:
            let internalError = ServerError(.internal, "\(error)")
            self.tell(internalError, method: method, requestID: requestID, caller: caller)
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

    private func tell(_ error: ServerError, method: String, requestID: String, caller: String) {
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

extension Result {
    fileprivate var failure: Failure? { if case .failure(let error) = self { error } else { nil } }
}
