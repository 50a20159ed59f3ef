import PluginAPI
import SPIFFE
import SPIFFEHTTP
import Testing

@testable import Plugins

@Suite struct KubernetesConfigMapBundlePublisherTests {
    private func settings(
        namespace: String = "spire", name: String = "example.org", key: String = "bundle_1.json"
    ) -> KubernetesConfigMapBundlePublisher.Settings {
        .init(
            cluster: "city", namespace: namespace, configMapName: name, configMapKey: key,
            format: .spiffe)
    }

    @Test func appliesOneKey() throws {
        let publisher = try KubernetesConfigMapBundlePublisher(self.settings())
        let access = KubernetesAccess(
            server: "https://api.test:6443", authentication: .machineAuthorities,
            certificate: nil, bearerToken: "abc")
        let request = publisher.request(Array("{\"keys\":[]}".utf8), access)
        #expect(request.method == "PATCH")
        #expect(
            request.url
                == "https://api.test:6443/api/v1/namespaces/spire/configmaps/example.org"
                + "?fieldManager=cygnet-server-bundle-publisher&force=true")
        #expect(request.headers.contains { $0 == ("authorization", "Bearer abc") })
        #expect(request.headers.contains { $0 == ("content-type", "application/apply-patch+yaml") })
        let body = try JSONValue(parsing: request.body)
        #expect(body["kind"]?.stringValue == "ConfigMap")
        #expect(body["metadata"]?["name"]?.stringValue == "example.org")
        #expect(body["data"] == ["bundle_1.json": "{\"keys\":[]}"])
    }

    @Test(arguments: [
        ("Spire", "n", "k"), ("a/b", "n", "k"), ("", "n", "k"), ("ns", "..", "k"),
        ("ns", "n?x=1", "k"), ("ns", "n", "a/b"), ("ns", "n", ""), ("ns", "n", "."),
        ("ns", String(repeating: "n", count: 254), "k"),
    ])
    func refusesNamesThatKubernetesWould(namespace: String, name: String, key: String) {
        #expect {
            _ = try KubernetesConfigMapBundlePublisher(
                self.settings(namespace: namespace, name: name, key: key))
        } throws: { error in
            (error as? BundlePublisherError)?.code == .configuration
        }
    }

    @Test func quotesWhatTheServerSays() {
        let body = "{\"kind\":\"Status\",\"message\":\"configmaps is forbidden\\n\"}"
        #expect(
            KubernetesConfigMapBundlePublisher.refusal(403, Array(body.utf8))
                == "API server answered with status 403: \"configmaps is forbidden?\"")
        #expect(
            KubernetesConfigMapBundlePublisher.refusal(502, Array("<html>".utf8))
                == "API server answered with status 502")
    }
}
