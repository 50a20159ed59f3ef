import AgentCore
import Foundation
import GRPCCore
import SPIFFE
import SwiftProtobuf
import WorkloadAPIProto

/// The methods of the SPIFFE Broker API.
enum BrokerMethod: String, CaseIterable, Sendable {
    case subscribeToX509SVID = "SubscribeToX509SVID"
    case subscribeToX509Bundles = "SubscribeToX509Bundles"
    case fetchJWTSVID = "FetchJWTSVID"
    case subscribeToJWTBundles = "SubscribeToJWTBundles"
}

/// A workload that a request names (Broker API §3.1). Only the form has been checked.
enum WorkloadReference: Hashable, Sendable {
    /// A process of this node; positive.
    case pid(Int32)

    /// How the type is written in policies.
    var typeURL: String {
        switch self {
        case .pid: BrokerPolicy.pidType
        }
    }

    /// - Throws: ``BrokerRefusal`` `referenceInvalid`.
    init(_ message: Spiffe_Broker_WorkloadReference?) throws(BrokerRefusal) {
        guard let message, message.hasReference else {
            throw .invalid("the request has no workload reference")
        }
        let typeURL = message.reference.typeURL
        guard let slash = typeURL.utf8.lastIndex(of: UInt8(ascii: "/")) else {
            throw .invalid("the type URL of the workload reference is empty or malformed")
        }
        // What stands before the name says where its definition can be looked up, and no more.
        let name = String(typeURL[typeURL.utf8.index(after: slash)...])
        let value = [UInt8](message.reference.value)
        switch name {
        case Spiffe_Broker_WorkloadPIDReference.protoMessageName:
            guard let reference = try? Spiffe_Broker_WorkloadPIDReference(serializedBytes: value)
            else { throw .invalid("the workload reference cannot be parsed") }
            guard reference.pid > 0 else {
                throw .invalid("pid must be positive, is \(reference.pid)")
            }
            self = .pid(reference.pid)
        case Spiffe_Broker_KubernetesObjectReference.protoMessageName:
            throw .invalid("references to Kubernetes objects are not understood here; use a PID")
        default:
            throw .invalid("the type of the workload reference is not known; use a PID")
        }
    }
}

/// A request, read and checked as far as that needs nobody else.
struct BrokerRequest: Sendable {
    /// What is asked for.
    enum Wish: Sendable {
        case stream(SVIDCache.Kind)
        case answer(WorkloadRequest)
    }

    let reference: WorkloadReference
    let wish: Wish

    /// - Throws: ``BrokerRefusal`` when the message is malformed or lacks something.
    init(_ method: BrokerMethod, _ bytes: [UInt8]) throws(BrokerRefusal) {
        switch method {
        case .subscribeToX509SVID:
            let request: Spiffe_Broker_SubscribeToX509SVIDRequest = try Self.parse(bytes)
            self.reference = try WorkloadReference(
                request.hasReference ? request.reference : nil)
            self.wish = .stream(.x509SVIDs)
        case .subscribeToX509Bundles:
            let request: Spiffe_Broker_SubscribeToX509BundlesRequest = try Self.parse(bytes)
            self.reference = try WorkloadReference(
                request.hasReference ? request.reference : nil)
            self.wish = .stream(.x509Bundles)
        case .subscribeToJWTBundles:
            let request: Spiffe_Broker_SubscribeToJWTBundlesRequest = try Self.parse(bytes)
            self.reference = try WorkloadReference(
                request.hasReference ? request.reference : nil)
            self.wish = .stream(.jwtBundles)
        case .fetchJWTSVID:
            let request: Spiffe_Broker_FetchJWTSVIDRequest = try Self.parse(bytes)
            self.reference = try WorkloadReference(
                request.hasReference ? request.reference : nil)
            do throws(WorkloadRefusal) {
                self.wish = .answer(
                    try WorkloadRequest(audience: request.audience, spiffeID: request.spiffeID))
            } catch {
                throw BrokerRefusal(.invalidArgument, nil, error.message)
            }
        }
    }

    private static func parse<Request: Message>(_ bytes: [UInt8]) throws(BrokerRefusal) -> Request {
        guard let request = try? Request(serializedBytes: bytes) else { throw .malformed }
        return request
    }
}
