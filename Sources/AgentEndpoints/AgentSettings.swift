package import PluginAPI
package import SPIFFE

/// Everything an agent is told at its start, validated.
package struct AgentSettings: Sendable {
    /// How the server is recognised before the agent has stored its trust domain's bundle.
    package enum Bootstrap: Sendable {
        /// By these X.509 authorities, DER; not empty.
        case authorities([[UInt8]])
        /// By the name in its certificate alone, which anybody can forge.
        case insecure
    }

    package var trustDomain: TrustDomain
    /// IP address or host name.
    package var serverAddress: String
    package var serverPort: Int
    /// Path of the public socket.
    package var socketPath: String
    /// Where `agent-data.json` lies; must exist.
    package var dataDirectory: String
    package var bootstrap: Bootstrap
    /// Asked for whenever the agent has to attest.
    package var joinToken: @Sendable () -> String? = { nil }
    /// Reported to the server, at most 255 bytes.
    package var agentVersion = "cygnet"

    /// How often a server that cannot push is asked.
    package var syncInterval = Duration.seconds(5)
    package var workloadKeyType = KeyType.ecP256
    package var availabilityTarget: Duration?
    package var maximumX509SVIDs = 1000
    package var maximumJWTSVIDs = 1000
    /// Whether SVIDs are signed before anybody asks for them.
    package var signsAhead = false
    package var allowsUnauthenticatedVerifiers = false
    package var allowedForeignJWTClaims: Set<String> = []
    /// Whether the WIT profile of the Workload API is offered; incubating, hence off.
    package var offersWITSVIDs = false
    /// Whether the Workload API is served at all.
    package var servesWorkloadAPI = true
    /// The Broker Endpoint; nil for none.
    package var broker: BrokerSettings?

    package init(
        trustDomain: TrustDomain, serverAddress: String, serverPort: Int, socketPath: String,
        dataDirectory: String, bootstrap: Bootstrap
    ) {
        self.trustDomain = trustDomain
        self.serverAddress = serverAddress
        self.serverPort = serverPort
        self.socketPath = socketPath
        self.dataDirectory = dataDirectory
        self.bootstrap = bootstrap
    }
}
