import Foundation
import SwiftProtobuf
import WorkloadAPIProto

/// Which workload a broker asks for (Broker API §3.1). Each call has exactly one.
public struct WorkloadReference: Sendable, CustomStringConvertible {
    /// The type of the message, as `type.googleapis.com/spiffe.broker.WorkloadPIDReference`.
    public let typeURL: String
    /// Whether it means something on its own node only; then it is never sent to another one.
    public let isLocal: Bool
    /// For logs, such as `pid 4711`.
    public let description: String
    private let value: [UInt8]
    private let isAlive: (@Sendable () -> Bool)?

    private init(
        _ typeURL: String, _ value: [UInt8], isLocal: Bool, _ description: String,
        isAlive: (@Sendable () -> Bool)? = nil
    ) {
        self.typeURL = typeURL
        self.value = value
        self.isLocal = isLocal
        self.description = description
        self.isAlive = isAlive
    }

    /// A process on the node of this broker and its agent.
    ///
    /// Numbers are used again. While a call is open the agent sees to it that the number keeps its meaning; when
    /// a connection was lost and is made again, only whoever watches the process can tell.
    ///
    /// - Parameters:
    ///   - pid: Positive, as the agent's PID namespace counts: of the workload itself, not of the sandbox around
    ///     it.
    ///   - isAlive: Whether the process that was meant is still there; asked before each call. Must not block.
    /// - Throws: ``BrokerError`` `invalidReference`.
    public static func process(
        _ pid: Int32, isAlive: (@Sendable () -> Bool)? = nil
    ) throws(BrokerError) -> WorkloadReference {
        guard pid > 0 else {
            throw BrokerError(.invalidReference, "a PID is positive; \(pid) names no process")
        }
        return try self.packed(
            Spiffe_Broker_WorkloadPIDReference.with { $0.pid = pid }, isLocal: true, "pid \(pid)",
            isAlive: isAlive)
    }

    /// An object of the Kubernetes cluster whose agent is asked; of no other one.
    public static func kubernetes(
        _ object: KubernetesObject
    ) throws(BrokerError) -> WorkloadReference {
        try self.packed(object.message, isLocal: false, object.description)
    }

    /// A vendor's own message (Broker API §3.1.4).
    ///
    /// - Parameters:
    ///   - typeURL: Ends with a slash and the full name of the message.
    ///   - value: The message, serialised.
    ///   - isLocal: Whether it means something on its own node only.
    /// - Throws: ``BrokerError`` `invalidReference`.
    public static func custom(
        typeURL: String, value: [UInt8], isLocal: Bool
    ) throws(BrokerError) -> WorkloadReference {
        guard typeURL.utf8.contains(UInt8(ascii: "/")), typeURL.utf8.last != UInt8(ascii: "/")
        else {
            throw BrokerError(
                .invalidReference,
                "type URL \(BrokerError.quoted(typeURL)) does not end with a slash and a name")
        }
        return WorkloadReference(
            typeURL, value, isLocal: isLocal, "reference of type \(BrokerError.quoted(typeURL))")
    }

    private static func packed(
        _ message: some Message, isLocal: Bool, _ description: String,
        isAlive: (@Sendable () -> Bool)? = nil
    ) throws(BrokerError) -> WorkloadReference {
        let value: [UInt8]
        do { value = try message.serializedBytes() } catch {
            throw BrokerError(.invalidReference, "\(description) cannot be encoded", cause: error)
        }
        let name = type(of: message).protoMessageName
        return WorkloadReference(
            "type.googleapis.com/" + name, value, isLocal: isLocal, description, isAlive: isAlive)
    }

    /// Asks whether the workload is still the one that was meant.
    ///
    /// - Throws: ``BrokerError`` `workloadNotFound`.
    func checkAlive() throws(BrokerError) {
        if let isAlive = self.isAlive, !isAlive() {
            throw BrokerError(.workloadNotFound, "\(self) has ended")
        }
    }

    /// For requests.
    var message: Spiffe_Broker_WorkloadReference {
        .with {
            $0.reference = .with {
                $0.typeURL = self.typeURL
                $0.value = Data(self.value)
            }
        }
    }
}
