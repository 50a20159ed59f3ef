package import SPIFFE

/// Where the Broker Endpoint listens, and who may ask for what.
package struct BrokerSettings: Hashable, Sendable {
    /// Path of a Unix socket; nil for none.
    package var socketPath: String?
    /// IP address or host name to listen on with TCP; nil for none.
    package var host: String?
    package var port: Int
    /// Nobody else is let in. Not empty; of two with one ID the first counts.
    package var brokers: [BrokerPolicy]

    package init(
        socketPath: String? = nil, host: String? = nil, port: Int = 0, brokers: [BrokerPolicy]
    ) {
        self.socketPath = socketPath
        self.host = host
        self.port = port
        self.brokers = brokers
    }
}

/// What one broker may ask for (Broker API §4.1): nothing that is not said here.
package struct BrokerPolicy: Hashable, Sendable {
    /// Stands for every type of reference.
    package static let anyType = "*"
    /// The type URL of references by PID.
    package static let pidType = "type.googleapis.com/spiffe.broker.WorkloadPIDReference"

    package let id: SPIFFEID
    /// Types of references by their URLs, ``anyType`` among them; true for those that are taken over TCP,
    /// too.
    package let referenceTypes: [String: Bool]
    /// The broker is told only of workloads that have all of these selectors; empty means any workload.
    package let workloadSelectors: Set<Selector>

    package init(
        id: SPIFFEID, referenceTypes: [String: Bool], workloadSelectors: Set<Selector> = []
    ) {
        self.id = id
        self.referenceTypes = referenceTypes
        self.workloadSelectors = workloadSelectors
    }

    /// Whether the broker may refer to workloads in this way.
    package func allows(_ typeURL: String, isOnUnixSocket: Bool) -> Bool {
        guard
            let isAllowedOverTCP = self.referenceTypes[typeURL] ?? self.referenceTypes[Self.anyType]
        else { return false }
        return isOnUnixSocket || isAllowedOverTCP
    }

    /// Whether the broker may act for a workload with these selectors.
    package func covers(_ selectors: Set<Selector>) -> Bool {
        self.workloadSelectors.isSubset(of: selectors)
    }
}
