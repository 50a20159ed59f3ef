import Foundation
package import PluginAPI
package import SPIFFE
import SPIFFEHTTP

/// Publishes the bundle as one key of a ConfigMap, by server-side apply: other keys, and what others own, stay.
///
/// The ConfigMap is made when it is missing, as far as the account may.
package struct KubernetesConfigMapBundlePublisher: BundlePublisher {
    /// The keys of one cluster of `BundlePublisher "k8s_configmap"`.
    package struct Settings: Sendable, Hashable {
        /// The cluster's name in the configuration.
        package var cluster: String
        package var namespace: String
        package var configMapName: String
        package var configMapKey: String
        package var format: BundleFormat
        /// Empty: the account of the pod that the server runs in.
        package var kubeconfigPath = ""
        package var refreshHint: Duration?

        package init(
            cluster: String, namespace: String, configMapName: String, configMapKey: String,
            format: BundleFormat
        ) {
            self.cluster = cluster
            self.namespace = namespace
            self.configMapName = configMapName
            self.configMapKey = configMapKey
            self.format = format
        }
    }

    /// Under which name the API server remembers who owns the key.
    static let fieldManager = "cygnet-server-bundle-publisher"

    package let name = "k8s_configmap"
    package let destination: String
    private let settings: Settings

    /// - Throws: ``BundlePublisherError`` `configuration` for names that Kubernetes would refuse.
    package init(_ settings: Settings) throws(BundlePublisherError) {
        for (what, text, isName) in [
            ("namespace", settings.namespace, true),
            ("configmap_name", settings.configMapName, true),
            ("configmap_key", settings.configMapKey, false),
        ] {
            guard Self.isAcceptable(text, isName: isName) else {
                throw BundlePublisherError(
                    .configuration,
                    "\(what) \(PublisherText.quoted(text)) of cluster "
                        + "\(PublisherText.quoted(settings.cluster)) is not accepted; expected "
                        + (isName ? "a-z 0-9 - ." : "A-Z a-z 0-9 - _ .") + ", at most 253")
            }
        }
        self.settings = settings
        self.destination =
            "\(settings.cluster): configmap \(settings.namespace)/\(settings.configMapName), key "
            + settings.configMapKey
    }

    package func publish(_ bundle: SPIFFEBundle) async throws {
        let document = try self.settings.format.document(
            bundle, refreshHint: self.settings.refreshHint)
        let access =
            self.settings.kubeconfigPath.isEmpty
            ? try Kubeconfig.inCluster(environment: ProcessInfo.processInfo.environment)
            : try Kubeconfig.read(self.settings.kubeconfigPath)
        let client = WebHTTPSClient(access.authentication, certificate: access.certificate)
        let response: WebHTTPSClient.Response
        do {
            response = try await client.send(self.request(document, access))
        } catch let error as SPIFFEHTTPError {
            throw BundlePublisherError(.unreachable, error.message)
        }
        guard response.status == 200 || response.status == 201 else {
            throw BundlePublisherError(.refused, Self.refusal(response.status, response.body))
        }
    }

    /// The apply request; JSON is taken where YAML is.
    func request(_ document: [UInt8], _ access: KubernetesAccess) -> WebHTTPSClient.Request {
        let body: JSONValue = [
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": [
                "name": .string(self.settings.configMapName),
                "namespace": .string(self.settings.namespace),
            ],
            "data": .object([
                self.settings.configMapKey: .string(String(decoding: document, as: UTF8.self))
            ]),
        ]
        var headers: [(name: String, value: String)] = [
            ("accept", "application/json"), ("content-type", "application/apply-patch+yaml"),
            ("user-agent", "cygnet-server"),
        ]
        if let token = access.bearerToken { headers.append(("authorization", "Bearer \(token)")) }
        let url =
            "\(access.server)/api/v1/namespaces/\(self.settings.namespace)/configmaps/"
            + "\(self.settings.configMapName)?fieldManager=\(Self.fieldManager)&force=true"
        return WebHTTPSClient.Request(
            "PATCH", url: url, headers: headers, body: body.serialized())
    }

    /// What the API server said, from its Status object.
    static func refusal(_ status: Int, _ body: [UInt8]) -> String {
        let said = (try? JSONValue(parsing: body))?["message"]?.stringValue
        return "API server answered with status \(status)"
            + (said.map { ": \(PublisherText.quoted($0))" } ?? "")
    }

    /// Names are subdomains (RFC 1123), keys may have capitals and underscores.
    private static func isAcceptable(_ text: String, isName: Bool) -> Bool {
        guard !text.isEmpty, text.utf8.count <= 253, text != ".", text != ".." else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."):
                true
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): !isName
            default: false
            }
        }
    }
}
