import Foundation
import PluginAPI
import SPIFFE
import SPIFFEHTTP
import Testing

@testable import Plugins

@Suite struct KubeconfigTests {
    private static let usual = """
        apiVersion: v1
        kind: Config
        # a comment
        clusters:
        - cluster:
            certificate-authority-data: Y2VydGlmaWNhdGU=
            server: https://api.test:6443/
          name: "city"
        - name: other
          cluster: {}
        contexts:
          - context:
              cluster: city
              user: 'publisher'   # quoted
            name: city-context
        current-context: city-context
        preferences: {}
        users:
        - name: publisher
          user:
            token: abc.def-ghi
        """

    private func refusal(_ text: String) -> String? {
        do throws(BundlePublisherError) {
            _ = try Kubeconfig.access(text, folder: "/nowhere")
            return nil
        } catch {
            return error.code == .configuration ? error.message : nil
        }
    }

    @Test func readsTheUsualForm() throws {
        let access = try Kubeconfig.access(Self.usual, folder: "/nowhere")
        #expect(access.server == "https://api.test:6443")
        #expect(access.authentication == .authorities(pem: Array("certificate".utf8)))
        #expect(access.bearerToken == "abc.def-ghi" && access.certificate == nil)
    }

    @Test func readsJSON() throws {
        let json = """
            {"apiVersion": "v1", "current-context": "c",
             "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1"}}],
             "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
             "users": [{"name": "u", "user": {"client-certificate-data": "Yw==", "client-key-data": "aw=="}}]}
            """
        let access = try Kubeconfig.access(json, folder: "/nowhere")
        #expect(access.server == "https://10.0.0.1")
        #expect(access.authentication == .machineAuthorities)
        #expect(access.certificate == .init(chainPEM: Array("c".utf8), keyPEM: Array("k".utf8)))
        #expect(access.bearerToken == nil)
    }

    @Test func readsFilesBesideItself() throws {
        let folder = FileManager.default.temporaryDirectory.path + "/kubeconfig-\(UUID())"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try "  tok-en\n".write(toFile: folder + "/token", atomically: true, encoding: .utf8)
        try "authority".write(toFile: folder + "/ca.crt", atomically: true, encoding: .utf8)
        let text = Self.usual
            .replacing("token: abc.def-ghi", with: "tokenFile: token")
            .replacing(
                "certificate-authority-data: Y2VydGlmaWNhdGU=",
                with: "certificate-authority: ca.crt")
        try text.write(toFile: folder + "/config", atomically: true, encoding: .utf8)
        let access = try Kubeconfig.read(folder + "/config")
        #expect(access.bearerToken == "tok-en")
        #expect(access.authentication == .authorities(pem: Array("authority".utf8)))

        let environment = ["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"]
        let pod = try Kubeconfig.inCluster(environment: environment, folder: folder)
        #expect(pod.server == "https://[fd00::1]:443" && pod.bearerToken == "tok-en")
        #expect(throws: BundlePublisherError.self) {
            _ = try Kubeconfig.inCluster(environment: [:], folder: folder)
        }
        #expect(throws: BundlePublisherError.self) { _ = try Kubeconfig.read(folder + "/missing") }
    }

    @Test(arguments: [
        ("current-context: city-context", "current-context: nobody", "named \"nobody\""),
        ("current-context: city-context", "x: y", "no current-context"),
        ("server: https", "server: http", "https URL"),
        ("token: abc.def-ghi", "exec: {}", "exec is not supported"),
        ("token: abc.def-ghi", "username: me", "username is not supported"),
        ("token: abc.def-ghi", "token: \"a b\"", "no token has"),
        ("token: abc.def-ghi", "x: y", "neither a token nor"),
        ("token: abc.def-ghi", "client-certificate-data: YQ==", "go together"),
        ("Y2VydGlmaWNhdGU=", "Y2Vyd*", "no base64"),
        ("server:", "insecure-skip-tls-verify: true\n    server:", "insecure-skip-tls-verify"),
        ("preferences: {}", "preferences: &a x", "line 17"),
        ("preferences: {}", "kind: Config", "a key occurs twice"),
        ("preferences: {}", "preferences: {a: b}", "only {} and []"),
        ("name: \"city\"", "name: \"city", "does not end"),
        ("kind: Config", "kind", "expected \"key: value\""),
    ])
    func refuses(old: String, new: String, expected: String) throws {
        try #require(Self.usual.contains(old))
        let message = self.refusal(Self.usual.replacing(old, with: new, maxReplacements: 1))
        #expect(message?.contains(expected) == true, "\(message ?? "accepted")")
    }

    @Test func survivesAnything() {
        let lines = Self.usual.split(separator: "\n", omittingEmptySubsequences: false)
        for index in lines.indices {
            var damaged = lines
            damaged.remove(at: index)
            _ = self.refusal(damaged.joined(separator: "\n"))
            damaged.insert("   \t- ", at: index)
            _ = self.refusal(damaged.joined(separator: "\n"))
        }
        for length in 0..<Self.usual.count { _ = self.refusal(String(Self.usual.prefix(length))) }
        let deep = (0..<100).map { String(repeating: " ", count: $0) + "a:" }
        #expect(self.refusal(deep.joined(separator: "\n"))?.contains("too deep") == true)
    }

    @Test func readsBlocksOfText() throws {
        let yaml = try KubeconfigYAML.parse("---\na: |-\n  one\n   two\nb:\n  - x\n  -\n    c: 1\n")
        #expect(yaml["a"]?.text == "one\n two")
        #expect(yaml["b"] == .sequence([.scalar("x"), .mapping(["c": .scalar("1")])]))
    }
}
