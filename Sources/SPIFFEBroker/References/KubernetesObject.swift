import Foundation
import SwiftProtobuf
import WorkloadAPIProto

/// An object of a Kubernetes cluster that stands for a workload (Broker API §3.1.3). Valid by construction, as far
/// as that can be known without asking the cluster.
public struct KubernetesObject: Hashable, Sendable, CustomStringConvertible {
    /// How an object is called within its kind.
    public enum Name: Hashable, Sendable {
        /// Of a kind that lives in namespaces, such as pods.
        case namespaced(namespace: String, name: String)
        /// Of a kind that belongs to the whole cluster, such as nodes.
        case clusterScoped(name: String)
    }

    /// As the API server spells the kind, such as `pods`.
    public let plural: String
    /// The API group, such as `apps`; `core` for the group that has no name.
    public let group: String
    /// Nil when the UID alone says which one.
    public let name: Name?
    /// A UUID; nil when the name alone says which one. With both, the object of that name must have that UID.
    public let uid: String?

    /// Kinds that everybody knows, so that a forgotten namespace is found here and not by the server.
    private static let namespacedKinds: Set<String> = [
        "core/pods", "core/services", "core/serviceaccounts", "core/configmaps", "core/secrets",
        "core/replicationcontrollers", "apps/deployments", "apps/replicasets", "apps/statefulsets",
        "apps/daemonsets", "batch/jobs", "batch/cronjobs",
    ]
    private static let clusterKinds: Set<String> = [
        "core/nodes", "core/namespaces", "core/persistentvolumes",
    ]

    /// - Parameters:
    ///   - plural: Not empty.
    ///   - group: Not empty; the group without a name is `core`.
    ///   - name: Nil only with a UID.
    ///   - uid: Nil only with a name.
    /// - Throws: ``BrokerError`` `invalidReference` with the rule that was broken.
    public init(
        plural: String, group: String, name: Name? = nil, uid: String? = nil
    ) throws(BrokerError) {
        func rejected(_ reason: String) -> BrokerError {
            BrokerError(
                .invalidReference,
                "Kubernetes object of kind \(BrokerError.quoted(group + "/" + plural)) rejected: \(reason)"
            )
        }
        guard !plural.isEmpty, !group.isEmpty else {
            throw rejected("plural and group are both set; the group without a name is \"core\"")
        }
        guard name != nil || uid != nil else { throw rejected("it has neither name nor UID") }
        if let uid, UUID(uuidString: uid) == nil {
            throw rejected("UID \(BrokerError.quoted(uid)) is no UUID")
        }
        switch name {
        case .namespaced(let namespace, let name):
            guard !name.isEmpty, !namespace.isEmpty else {
                throw rejected("name and namespace are not empty")
            }
            if Self.clusterKinds.contains(group + "/" + plural) {
                throw rejected("this kind has no namespaces")
            }
        case .clusterScoped(let name):
            guard !name.isEmpty else { throw rejected("the name is not empty") }
            if Self.namespacedKinds.contains(group + "/" + plural) {
                throw rejected("this kind lives in namespaces")
            }
        case nil: break
        }
        self.plural = plural
        self.group = group
        self.name = name
        self.uid = uid
    }

    /// For logs, such as `core/pods shop/checkout-7c9f`.
    public var description: String {
        let kind = "\(self.group)/\(self.plural)"
        switch self.name {
        case .namespaced(let namespace, let name): return "\(kind) \(namespace)/\(name)"
        case .clusterScoped(let name): return "\(kind) \(name)"
        case nil: return "\(kind) \(self.uid ?? "")"
        }
    }

    var message: Spiffe_Broker_KubernetesObjectReference {
        .with {
            $0.type = .with {
                $0.plural = self.plural
                $0.group = self.group
            }
            switch self.name {
            case .namespaced(let namespace, let name):
                $0.key = .with {
                    $0.namespace = namespace
                    $0.name = name
                }
            case .clusterScoped(let name): $0.key = .with { $0.name = name }
            case nil: break
            }
            $0.uid = self.uid ?? ""
        }
    }
}
