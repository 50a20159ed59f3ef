import Crypto
import GRPCCore
import NIOConcurrencyHelpers
import SPIFFE
package import ServerCore
import SwiftProtobuf
import Transparency

/// Records operators' calls in the ledger, and what is refused before it reaches a service.
///
/// A call that changes something is recorded before it is answered, after the changes it made: what an operator was
/// told has happened is in the ledger. One that only reads, and one that mints, is put in line and nobody waits: reading
/// must work when the ledger cannot be written, and what was minted has been recorded already.
package struct OperatorLog: Sendable {
    private let recorder: any EventRecorder
    private let changes: ChangeRecorder
    private let refusals = RefusalBudget()

    package init(recorder: any EventRecorder, changes: ChangeRecorder) {
        self.recorder = recorder
        self.changes = changes
    }

    /// What operators may call, but for health checks.
    private static let covered = Set(
        MethodPolicy.methods.filter { method, classes in
            (classes.contains(.local) || classes.contains(.admin))
                && !method.hasPrefix("grpc.health.v1.Health/")
        }.keys)

    /// Those of them that change nothing. Methods are named by what they do; whatever is named otherwise counts as a
    /// change.
    private static let unchanging = covered.filter { method in
        let name = method.split(separator: "/").last ?? ""
        return ["Get", "List", "Count", "Await", "Mint"].contains { name.hasPrefix($0) }
    }

    /// Their requests leave no digest: they have a secret that may be short enough to be guessed.
    private static let secret: Set = ["spire.api.server.agent.v1.Agent/CreateJoinToken"]

    /// Whether calls of the method are recorded.
    static func covers(_ method: String) -> Bool { self.covered.contains(method) }

    /// Records a call that was carried out, or failed in its service.
    ///
    /// - Parameter digest: gives the SHA-256 of the request.
    /// - Throws: ``ServerError`` `unavailable` when a call that changes something cannot be recorded.
    func record(
        _ call: AuthorizedCaller, method: String, error: (any Error)?, digest: () -> [UInt8]
    ) async throws {
        guard call.authorizedAs == .local || call.authorizedAs == .admin else { return }
        let event = LeafEvent.adminCall(
            AdminCallLeaf(
                method: method, caller: call.caller.name,
                status: error.map(Self.status) ?? "OK",
                requestDigest: Self.secret.contains(method) ? nil : digest()))
        if Self.unchanging.contains(method) { return self.recorder.enqueue([event]) }
        do {
            try await self.changes.append(event)
        } catch {
            throw ServerError(
                .unavailable,
                "the call was carried out, but it cannot be recorded in the ledger: \(error); look at its result before "
                    + "you repeat it")
        }
    }

    /// Records what was refused before it reached its service: operators' calls, and SVIDs for those who showed who
    /// they are.
    func refused(_ caller: Caller, method: String, error: ServerError, issuer: Issuer) {
        guard caller != .anonymous, self.refusals.takes(caller.name) else { return }
        if let type = Self.issuing[method] {
            var node: SPIFFEID?
            if case .svid(let id, _, _) = caller, id.path.hasPrefix("/spire/agent/") { node = id }
            issuer.refuse(error, type, node: node, caller: caller.name)
        } else if Self.covers(method) {
            self.recorder.enqueue([
                .adminCall(
                    AdminCallLeaf(
                        method: method, caller: caller.name, status: Self.status(error)))
            ])
        }
    }

    /// Calls by which agents get SVIDs.
    private static let issuing: [String: LeafSVIDType] = [
        "spire.api.server.agent.v1.Agent/RenewAgent": .x509,
        "spire.api.server.svid.v1.SVID/BatchNewX509SVID": .x509,
        "spire.api.server.svid.v1.SVID/NewJWTSVID": .jwt,
        "spire.api.server.svid.v1.SVID/BatchNewWITSVID": .wit,
    ]

    static func digest(_ request: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: request)) }

    /// The name of the gRPC status that a caller sees.
    private static func status(_ error: any Error) -> String {
        switch error {
        case let error as ServerError: Self.name(error.rpcCode)
        case let error as RPCError: Self.name(error.code)
        case let error as any RPCErrorConvertible: Self.name(error.rpcErrorCode)
        case is CancellationError: "CANCELLED"
        default: "INTERNAL"
        }
    }

    private static func name(_ code: RPCError.Code) -> String {
        switch code {
        case .cancelled: "CANCELLED"
        case .invalidArgument: "INVALID_ARGUMENT"
        case .deadlineExceeded: "DEADLINE_EXCEEDED"
        case .notFound: "NOT_FOUND"
        case .alreadyExists: "ALREADY_EXISTS"
        case .permissionDenied: "PERMISSION_DENIED"
        case .resourceExhausted: "RESOURCE_EXHAUSTED"
        case .failedPrecondition: "FAILED_PRECONDITION"
        case .aborted: "ABORTED"
        case .outOfRange: "OUT_OF_RANGE"
        case .unimplemented: "UNIMPLEMENTED"
        case .internalError: "INTERNAL"
        case .unavailable: "UNAVAILABLE"
        case .dataLoss: "DATA_LOSS"
        case .unauthenticated: "UNAUTHENTICATED"
        default: "UNKNOWN"
        }
    }
}

/// The digest of a request whose messages come one by one.
final class RequestDigest: Sendable {
    private let hash = NIOLockedValueBox(SHA256())

    /// Takes a message as it goes by.
    func add(_ message: Any) {
        guard let message = message as? any Message,
            let bytes: [UInt8] = try? message.serializedBytes(partial: true)
        else { return }
        self.hash.withLockedValue { $0.update(data: bytes) }
    }

    var bytes: [UInt8] { self.hash.withLockedValue { Array($0.finalize()) } }
}
