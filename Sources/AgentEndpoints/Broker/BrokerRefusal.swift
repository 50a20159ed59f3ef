import AgentCore
import GRPCCore
import GRPCProtobuf

/// Why a broker gets nothing. All of it is told to the broker.
struct BrokerRefusal: Error, Hashable, Sendable {
    /// What the standard calls it (Broker API §4.8).
    enum Reason: String, Hashable, Sendable {
        case referenceInvalid = "WORKLOAD_REFERENCE_INVALID"
        case notFound = "WORKLOAD_NOT_FOUND"
        case notEntitled = "WORKLOAD_NOT_ENTITLED"
    }

    let code: RPCError.Code
    /// Nil where the standard has no word for it.
    let reason: Reason?
    let message: String
    /// The process that was referred to, if the reference could be read.
    let pid: Int32?

    init(_ code: RPCError.Code, _ reason: Reason?, _ message: String, pid: Int32? = nil) {
        self.code = code
        self.reason = reason
        self.message = message
        self.pid = pid
    }

    /// The domain of the reasons.
    static let domain = "spiffe.io"

    // MARK: About the caller

    static let noSecurityHeader = BrokerRefusal(
        .invalidArgument, nil, "security header broker.spiffe.io missing from request")
    static let unknownCaller = BrokerRefusal(
        .unauthenticated, nil, "caller has shown no X509-SVID")
    static let expiredCaller = BrokerRefusal(
        .unauthenticated, nil,
        "caller's X509-SVID has expired; connect again with a fresh one from the Workload API")
    static let callerNotListed = BrokerRefusal(
        .permissionDenied, nil, "caller is not one of the agent's brokers")
    static let unknownMethod = BrokerRefusal(.unimplemented, nil, "no such method")
    static let tooManyCalls = BrokerRefusal(
        .unavailable, nil, "brokers have too many calls open at this agent")
    static let malformed = BrokerRefusal(.invalidArgument, nil, "request cannot be parsed")

    // MARK: About the reference

    static func invalid(_ message: String) -> BrokerRefusal {
        BrokerRefusal(.invalidArgument, .referenceInvalid, message)
    }

    /// Before anything is said about the workload, its existence included.
    static func typeDenied(isOnUnixSocket: Bool) -> BrokerRefusal {
        BrokerRefusal(
            .permissionDenied, nil,
            isOnUnixSocket
                ? "this broker may not use references of this type"
                : "this broker may not use references of this type over TCP")
    }

    static func outOfScope(_ pid: Int32) -> BrokerRefusal {
        BrokerRefusal(
            .permissionDenied, nil, "this broker may not act for this workload", pid: pid)
    }

    static func notFound(_ pid: Int32) -> BrokerRefusal {
        BrokerRefusal(.notFound, .notFound, "no process has this PID", pid: pid)
    }

    static func ended(_ pid: Int32) -> BrokerRefusal {
        BrokerRefusal(.notFound, .notFound, "the workload has ended", pid: pid)
    }

    /// The agent is not a workload: what it would attest of itself says nothing about anybody else.
    static func agentItself(_ pid: Int32) -> BrokerRefusal {
        BrokerRefusal(
            .permissionDenied, .notEntitled, "this PID is the agent's own", pid: pid)
    }

    static func cannotHold(_ pid: Int32) -> BrokerRefusal {
        BrokerRefusal(.unavailable, nil, "cannot take hold of the process now", pid: pid)
    }

    /// What the rules for all workloads say, in the words of this API.
    ///
    /// - Parameter isAlive: Whether the workload still runs: of one that does not, nothing else is true.
    init(_ refusal: WorkloadRefusal, pid: Int32, isAlive: Bool) {
        if !isAlive {
            self = .ended(pid)
            return
        }
        switch refusal.code {
        case .invalidArgument: self.init(.invalidArgument, nil, refusal.message)
        case .noIdentity:
            self.init(.permissionDenied, .notEntitled, refusal.message, pid: pid)
        case .unavailable: self.init(.unavailable, nil, refusal.message)
        case .exhausted: self.init(.resourceExhausted, nil, refusal.message)
        case .unimplemented: self.init(.unimplemented, nil, refusal.message)
        case .internal: self.init(.internalError, nil, refusal.message)
        }
    }

    // MARK: On the wire

    var status: Status { Status(code: Status.Code(self.code), message: self.message) }

    /// `google.rpc.ErrorInfo` for those that have a reason.
    var details: Metadata {
        guard let reason = self.reason else { return [:] }
        let about = self.pid.map { ["pid": "\($0)"] } ?? [:]
        return GoogleRPCStatus(
            code: self.code, message: self.message,
            details: .errorInfo(reason: reason.rawValue, domain: Self.domain, metadata: about)
        ).rpcErrorMetadata
    }
}
