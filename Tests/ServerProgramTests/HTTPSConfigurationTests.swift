import Logging
import SPIFFE
import SPIFFEWorkloadAPI
import ServerCore
import ServiceRuntime
import Testing

@testable import ServerProgram

@Suite struct HTTPSConfigurationTests {
    private func load(_ blocks: String, top: String = "") throws -> ServerConfiguration {
        let text = ServerConfigurationTests.minimal.replacing(
            "server {", with: "\(top)\nserver {\n\(blocks)\n", maxReplacements: 1)
        let document = try ConfigurationDocument(parsing: Array(text.utf8), file: "server.conf")
        return try ServerConfiguration(file: ServerFileConfiguration(document))
    }

    // MARK: Bundle endpoint

    @Test func servesNothingUnlessAsked() throws {
        let configuration = try self.load("federation { }")
        #expect(configuration.federation.bundleEndpoint == nil && configuration.discovery == nil)
    }

    @Test("FED-02: the server's SVID is the default of a bundle endpoint, with a word about it")
    func fillsInTheBundleEndpoint() throws {
        let configuration = try self.load("federation { bundle_endpoint { } }")
        let endpoint = try #require(configuration.federation.bundleEndpoint)
        #expect(endpoint.address == ListeningAddress(host: "0.0.0.0", port: 443))
        #expect(endpoint.refreshHint == .seconds(300) && endpoint.profile == .httpsSPIFFE)
        #expect(endpoint.acknowledgementTimeout == .seconds(5))
        #expect(configuration.advice.contains { $0.contains("profile \"https_spiffe\" {}") })
    }

    @Test func readsBothProfiles() throws {
        let spiffe = try self.load(
            """
            federation { bundle_endpoint {
                address = "127.0.0.1" port = 8443 refresh_hint = "10m" acknowledgement_timeout = "0s"
                profile "https_spiffe" {}
            } }
            """)
        let endpoint = try #require(spiffe.federation.bundleEndpoint)
        #expect(endpoint.acknowledgementTimeout == .zero)
        #expect(endpoint.address == ListeningAddress(host: "127.0.0.1", port: 8443))
        #expect(endpoint.refreshHint == .seconds(600) && endpoint.profile == .httpsSPIFFE)
        #expect(!spiffe.advice.contains { $0.contains("profile") })
        let web = try self.load(
            """
            federation { bundle_endpoint { profile "https_web" { serving_cert_file {
                cert_file_path = "/c.pem" key_file_path = "/k.pem" file_sync_interval = "5m"
            } } } }
            """)
        #expect(
            web.federation.bundleEndpoint?.profile
                == .httpsWeb(
                    ServingCertificateConfiguration(
                        certificatePath: "/c.pem", keyPath: "/k.pem", syncInterval: .seconds(300))))
    }

    @Test(arguments: [
        ("bundle_endpoint { prt = 1 }", "did you mean \"port\"?"),
        ("bundle_endpint { }", "did you mean \"bundle_endpoint\"?"),
        ("bundle_endpoint { port = 70000 }", "out of range"),
        ("bundle_endpoint { refresh_hint = \"0s\" }", "too short"),
        ("bundle_endpoint { acknowledgement_timeout = \"2m\" }", "at most 1m"),
        ("bundle_endpoint { acknowledgement_timeout = \"-1s\" }", "acknowledgement_timeout"),
        ("bundle_endpoint { profile \"https\" {} }", "expected \"https_spiffe\" or \"https_web\""),
        ("bundle_endpoint { profile \"https_web\" {} }", "serving_cert_file"),
        (
            "bundle_endpoint { profile \"https_web\" { acme { domain_name = \"x\" } } }",
            "use serving_cert_file"
        ),
        ("bundle_endpoint { acme { domain_name = \"x\" } }", "use serving_cert_file"),
        (
            "bundle_endpoint { profile \"https_web\" { serving_cert_file { cert_file_path = \"c\" } } }",
            "key_file_path"
        ),
        (
            "bundle_endpoint { profile \"https_spiffe\" {} profile \"https_web\" {} }",
            "one too many"
        ),
        (
            "bundle_endpoint { profile \"https_spiffe\" { endpoint = 1 } }",
            "unknown key \"endpoint\""
        ),
        ("bundle_endpoint { port = 8081 }", "both want port 8081"),
    ])
    func refusesInFederation(_ text: String, _ part: String) {
        let error = #expect(throws: ConfigurationError.self) {
            try self.load("federation { \(text) }")
        }
        #expect(error?.message.contains(part) == true, "\(error as Any)")
    }

    // MARK: Discovery

    @Test func readsDiscovery() throws {
        let configuration = try self.load(
            """
            jwt_issuer = "https://oidc.example.org"
            oidc_discovery {
                domains = ["oidc.example.org", "10.0.0.1", "::1"]
                serving_cert_file { cert_file_path = "/c" key_file_path = "/k" addr = "[::1]:8443" }
                jwks_uri = "https://keys.example.org/k"
                set_key_use = true
                server_path_prefix = "/a"
            }
            """)
        let discovery = try #require(configuration.discovery)
        #expect(discovery.domains == ["oidc.example.org", "10.0.0.1", "::1"])
        #expect(
            discovery.listener
                == .https(
                    ListeningAddress(host: "::1", port: 8443),
                    ServingCertificateConfiguration(
                        certificatePath: "/c", keyPath: "/k", syncInterval: .seconds(60))))
        #expect(discovery.jwtIssuer == "https://oidc.example.org", "that of the server")
        #expect(discovery.site.keysPath == "/a/keys" && discovery.setsKeyUse)
        #expect(!configuration.advice.contains { $0.contains("oidc") })
    }

    @Test func advisesOnIssuers() throws {
        let listener = "domains = [\"a\"] listen_socket_path = \"/s\""
        let without = try self.load("oidc_discovery { \(listener) }")
        #expect(without.discovery?.listener == .unixSocket(path: "/s"))
        #expect(without.advice.contains { $0.contains("jwt_issuer of server is not set") })
        let other = try self.load(
            "jwt_issuer = \"https://a\"\noidc_discovery { jwt_issuer = \"https://b\" \(listener) }")
        #expect(other.advice.contains { $0.contains("is not that of server") })
        let off = try self.load("disable_jwt_svids = true\noidc_discovery { \(listener) }")
        #expect(off.advice.contains { $0.contains("publishes no keys") })
    }

    @Test(arguments: [
        ("listen_socket_path = \"/s\"", "\"domains\""),
        ("domains = [] listen_socket_path = \"/s\"", "\"domains\""),
        ("domains = [\"https://a\"] listen_socket_path = \"/s\"", "is no domain"),
        ("domains = [\"a:443\"] listen_socket_path = \"/s\"", "is no domain"),
        ("domains = [\"\"] listen_socket_path = \"/s\"", "is no domain"),
        ("domains = [\"bücher.test\"] listen_socket_path = \"/s\"", "is no domain"),
        ("domains = [\"a\"]", "listen_socket_path"),
        ("domains = [\"a\"] acme { email = \"x\" }", "use serving_cert_file"),
        ("domains = [\"a\"] insecure_addr = \"8080\"", "\"127.0.0.1:8080\""),
        ("domains = [\"a\"] insecure_addr = \"::1:8080\"", "\"127.0.0.1:8080\""),
        ("domains = [\"a\"] insecure_addr = \":70000\"", "\"127.0.0.1:8080\""),
        (
            "domains = [\"a\"] insecure_addr = \":80\" listen_socket_path = \"/s\"",
            "exclude each other"
        ),
        ("domains = [\"a\"] listen_socket_path = \"/s\" jwt_issuer = \"a\"", "an address such as"),
        (
            "domains = [\"a\"] listen_socket_path = \"/s\" jwks_uri = \"https://\"",
            "an address such as"
        ),
        (
            "domains = [\"a\"] listen_socket_path = \"/s\" server_path_prefix = \"/a b\"",
            "a path of"
        ),
        ("domains = [\"a\"] listen_socket_path = \"/s\" set_key_us = true", "\"set_key_use\"?"),
        (
            "domains = [\"a\"] listen_socket_path = \"/tmp/spire-server/private/api.sock\"",
            "own socket_path"
        ),
        ("domains = [\"a\"] insecure_addr = \":8081\"", "both want port 8081"),
        (
            "domains = [\"a\"] allow_insecure_scheme = true serving_cert_file { cert_file_path = \"c\" key_file_path = \"k\" }",
            "are https"
        ),
    ])
    func refusesInDiscovery(_ text: String, _ part: String) {
        let error = #expect(throws: ConfigurationError.self) {
            try self.load("oidc_discovery { \(text) }")
        }
        #expect(error?.message.contains(part) == true, "\(error as Any)")
    }

    @Test func findsListenersThatExcludeEachOther() throws {
        let endpoint = "federation { bundle_endpoint { address = \"10.0.0.1\" port = 9000 } }"
        func discovery(_ address: String) -> String {
            "oidc_discovery { domains = [\"a\"] insecure_addr = \"\(address)\" }"
        }
        #expect(throws: ConfigurationError.self) {
            try self.load(endpoint + "\n" + discovery(":9000"))
        }
        _ = try self.load(endpoint + "\n" + discovery("10.0.0.2:9000"))
        let health =
            "health_checks { listener_enabled = true bind_address = \"10.0.0.1\" bind_port = 9000 }"
        #expect(throws: ConfigurationError.self) { try self.load(endpoint, top: health) }
    }

    // MARK: The separate program

    private func provider(_ text: String) throws -> DiscoveryProviderConfiguration {
        try DiscoveryProviderConfiguration(
            try ConfigurationDocument(parsing: Array(text.utf8), file: "provider.conf"))
    }

    @Test func readsAFileOfTheSeparateProgram() throws {
        let configuration = try self.provider(
            """
            log_level = "debug"
            log_format = "JSON"
            log_requests = true
            domains = ["mypublicdomain.test"]
            listen_socket_path = "/run/oidc.sock"
            server_api { address = "unix:///tmp/api.sock" poll_interval = "5s" }
            health_checks { }
            """)
        #expect(
            configuration.source == .serverAPI(socketPath: "/tmp/api.sock", interval: .seconds(5)))
        #expect(configuration.log.level == .debug && configuration.log.format == .json)
        #expect(configuration.logsRequests && configuration.healthChecks.listenerEnabled)
        #expect(configuration.healthChecks.bindPort == 8008)
        #expect(configuration.healthChecks.bindAddress == "localhost")
        let workload = try self.provider(
            """
            domains = ["a"]
            insecure_addr = ":8080"
            workload_api { socket_path = "/tmp/50%#?.sock" trust_domain = "domain.test" }
            """)
        guard case .workloadAPI(let address, let trustDomain, let interval) = workload.source else {
            Issue.record("\(workload.source)")
            return
        }
        #expect(address.description == "unix:/tmp/50%25%23%3F.sock")
        #expect(trustDomain.name == "domain.test" && interval == .seconds(10))
        #expect(!workload.healthChecks.listenerEnabled)
    }

    @Test(arguments: [
        ("", "server_api"),
        ("server_api { address = \"tcp://a\" }", "a Unix socket such as"),
        ("server_api { address = \"unix://\" }", "a Unix socket such as"),
        ("server_api { }", "\"address\""),
        ("server_api { address = \"unix:///a\" poll = 1 }", "unknown key \"poll\""),
        ("server_api { address = \"unix:///a\" poll_interval = \"0s\" }", "too short"),
        ("workload_api { socket_path = \"/a\" }", "\"trust_domain\""),
        ("workload_api { trust_domain = \"a\" }", "\"socket_path\""),
        (
            "workload_api { socket_path = \"/a\" trust_domain = \"a\" } server_api { address = \"unix:///a\" }",
            "exclude each other"
        ),
        ("file { path = \"/a\" }", "not supported yet"),
        ("server_api { address = \"unix:///a\" } domain = \"a\"", "did you mean \"domains\"?"),
        ("server_api { address = \"unix:///a\" } log_file = \"a\"", "\"log_file\""),
    ])
    func refusesInAFileOfTheSeparateProgram(_ text: String, _ part: String) {
        let error = #expect(throws: ConfigurationError.self) {
            try self.provider("domains = [\"a\"]\ninsecure_addr = \":80\"\n\(text)")
        }
        #expect(error?.message.contains(part) == true, "\(error as Any)")
    }

    @Test func isWellAsLongAsTheSourceHasNotFailedForLong() throws {
        let start = ContinuousClock.now
        let keys = FetchedKeys(patience: .seconds(180), now: start)
        #expect(keys.version == nil && keys.keys() == nil)
        #expect(keys.isLive(at: start + .seconds(179)) && !keys.isReady(at: start))
        #expect(!keys.isLive(at: start + .seconds(180)))
        #expect(keys.failed(at: start) && !keys.failed(at: start + .seconds(5)), "reported once")
        let bundle = JWTBundle(trustDomain: try TrustDomain("acme.test"), authorities: [:])
        #expect(keys.update(bundle) && !keys.update(bundle))
        #expect(keys.version == 1 && keys.isReady(at: start + .seconds(10_000)))
        #expect(keys.failed(at: start + .seconds(1_000)))
        #expect(
            keys.isReady(at: start + .seconds(1_179)) && !keys.isReady(at: start + .seconds(1_180)))
        #expect(keys.keys() == bundle, "the keys stay")
        #expect(FetchedKeys.patience(interval: .seconds(60)) == .seconds(300))
        #expect(FetchedKeys.patience(interval: .seconds(1)) == .seconds(180))
    }
}
