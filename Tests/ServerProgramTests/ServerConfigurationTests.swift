import Logging
import SPIFFE
import ServerCore
import ServiceRuntime
import Testing

@testable import ServerProgram

@Suite struct ServerConfigurationTests {
    static let minimal = """
        server {
            trust_domain = "example.org"
            data_dir = "/var/lib/cygnet"
        }
        plugins {
            DataStore "sql" {
                plugin_data { database_type = "sqlite3" connection_string = "/var/lib/cygnet/db" }
            }
            KeyManager "disk" { plugin_data { keys_path = "/var/lib/cygnet/keys.json" } }
            NodeAttestor "join_token" { plugin_data {} }
        }
        """

    private func load(_ text: String, _ flags: ServerFlags = ServerFlags()) throws
        -> ServerConfiguration
    {
        let document = try ConfigurationDocument(parsing: Array(text.utf8), file: "server.conf")
        return try ServerConfiguration(file: ServerFileConfiguration(document), flags: flags)
    }

    @Test func fillsInDefaults() throws {
        let configuration = try self.load(Self.minimal)
        var want = ServerConfiguration(
            trustDomain: "example.org", dataDirectory: "/var/lib/cygnet",
            keyManager: .disk(keysPath: "/var/lib/cygnet/keys.json"),
            sqlitePath: "/var/lib/cygnet/db")
        #expect(configuration == want)
        want.bindPort = 1
        #expect(configuration != want)
        #expect(configuration.bindAddress == "0.0.0.0" && configuration.bindPort == 8081)
        #expect(configuration.caTTL == .seconds(86400) && configuration.jwtKeyType == "ec-p256")
    }

    @Test func readsJSONToo() throws {
        let json = """
            {"server": {"trust_domain": "example.org", "data_dir": "/d", "ca_key_type": "RSA-2048"},
             "plugins": {"DataStore": [{"sql": {"plugin_data": {"database_type": "sqlite3",
                "connection_string": "/db"}}}], "KeyManager": {"memory": {"plugin_data": {}}}}}
            """
        let configuration = try self.load(json)
        #expect(configuration.keyManager == .memory)
        #expect(configuration.caKeyType == "rsa-2048" && configuration.jwtKeyType == "rsa-2048")
    }

    @Test func issuesWITSVIDsOnlyWhenAsked() throws {
        let off = try self.load(Self.minimal)
        #expect(!off.issuesWITSVIDs)
        let text = Self.minimal.replacing(
            "server {",
            with: """
                server { ca_key_type = "ec-p384"
                experimental { feature_flags = ["wit-svid"] wit_issuer = "https://acme.test" }
                """, maxReplacements: 1)
        let on = try self.load(text)
        #expect(on.issuesWITSVIDs && on.witKeyType == "ec-p384")
        #expect(on.advice.contains { $0.contains("incubating") })
        #expect(on.advice.contains { $0.contains("OpenID Connect") }, "WIT-22")
    }

    @Test func prefersFlagsOverTheFile() throws {
        var flags = ServerFlags()
        flags.trustDomain = "other.org"
        flags.bindPort = 9000
        flags.socketPath = ""
        flags.logLevel = "DEBUG"
        flags.logFormat = "json"
        let configuration = try self.load(Self.minimal, flags)
        #expect(configuration.trustDomain == "other.org" && configuration.bindPort == 9000)
        #expect(configuration.socketPath == ServerConfiguration.defaultSocketPath)
        #expect(configuration.logLevel == .debug && configuration.logFormat == .json)
    }

    @Test(arguments: [
        ("server { trust_domian = \"x\" }", "did you mean \"trust_domain\"?"),
        ("server { experimental { feature_flag = [] } }", "did you mean \"feature_flags\"?"),
        ("server { experimental { feature_flags = [\"wit-svd\"] } }", "did you mean \"wit-svid\"?"),
        ("server { experimental { wit_key_type = \"ed25519\" } }", "\"ec-p256\""),
        ("server { federation { } bind_port = 1 bind_port = 2 }", "appeared before"),
        (
            "server { federation { federates_wiht \"b.test\" { } } }",
            "did you mean \"federates_with\"?"
        ),
        ("server { bind_port = 70000 }", "out of range"),
        ("server { trust_domain = \"Example.org\" }", "server.conf:1"),
        ("server { ca_key_type = \"ed25519\" }", "\"ec-p256\""),
        ("server { agent_ttl = \"1d\" }", "none for days"),
        ("server { admin_ids = [\"example.org\"] }", "admin_ids"),
        ("server { log_level = \"loud\" }", "log_level"),
        ("telemetry { Prometheus { port = 1 } }", "not supported yet"),
        ("telemetry { Promethus { port = 1 } }", "did you mean \"Prometheus\"?"),
        ("health_checks { bind_prt = 1 }", "did you mean \"bind_port\"?"),
        ("servr { }", "did you mean \"server\"?"),
        ("plugins { KeyManger \"disk\" {} }", "did you mean \"KeyManager\"?"),
        ("plugins { KeyManager \"aws_kms\" {} }", "not supported yet"),
        ("plugins { KeyManager \"dsk\" {} }", "did you mean \"disk\"?"),
        ("plugins { KeyManager \"disk\" { plugin_cmd = \"x\" } }", "not supported yet"),
        ("plugins { UpstreamAuthority \"disk\" { } }", "not supported yet"),
        (
            "plugins { DataStore \"sql\" { plugin_data { database_type = \"mysql\" } } }",
            "not supported yet"
        ),
    ])
    func refuses(_ text: String, _ part: String) {
        let plugins =
            Self.minimal.split(separator: "plugins", maxSplits: 1).last.map { "\nplugins" + $0 }
            ?? ""
        let whole = text.contains("plugins") ? text : text + plugins
        let error = #expect(throws: ConfigurationError.self) { try self.load(whole) }
        #expect(error?.message.contains(part) == true, "\(error as Any)")
    }

    private static func partner(_ body: String, _ name: String = "b.test") -> String {
        self.minimal.replacing(
            "server {",
            with: "server { federation { federates_with \"\(name)\" { \(body) } }\n",
            maxReplacements: 1)
    }

    @Test("limits of partners, groups and the endpoint's URL are read")
    func readsLimitsAndGroups() throws {
        let web =
            "bundle_endpoint_url = \"https://b.test/x\" bundle_endpoint_profile \"https_web\" {}\n"
        #expect(try self.load(Self.partner(web)).federation.partners.first?.limits == nil)
        let limited = web + "accepted_paths = [\"/agents/*\"]\nuses = [\"jwt\"]"
        let limits = try self.load(Self.partner(limited)).federation.partners.first?.limits
        #expect(limits?.acceptedPaths == ["/agents/*"] && limits?.uses.names == ["jwt"])
        let none = try self.load(Self.partner(web + "accepted_paths = []"))
        #expect(none.federation.partners.first?.limits?.acceptedPaths == [])
        for bad in ["accepted_paths = [\"agents\"]", "uses = []", "uses = [\"wit\"]"] {
            #expect(throws: ConfigurationError.self, "\(bad)") {
                try self.load(Self.partner(web + bad))
            }
        }
        func load(_ block: String) throws -> FederationConfiguration {
            try self.load(
                Self.minimal.replacing(
                    "server {", with: "server { federation { \(block) }\n", maxReplacements: 1)
            ).federation
        }
        let groups = try load(
            "trust_domain_group \"city\" { trust_domains = [\"b.test\", \"spiffe://c.test\"] }"
        ).groups
        #expect(try groups.members(of: "city").sorted().map(\.name) == ["b.test", "c.test"])
        for bad in [
            "trust_domain_group \"City\" { trust_domains = [] }",
            "trust_domain_group \"city\" { }",
            "trust_domain_group \"city\" { trust_domains = [\"B.test\"] }",
            "trust_domain_group \"a\" { trust_domains = [] }\ntrust_domain_group \"a\" { trust_domains = [] }",
        ] {
            #expect(throws: ConfigurationError.self, "\(bad)") { try load(bad) }
        }
        for (block, url) in [
            ("port = 8443", nil),
            ("address = \"127.0.0.1\"\nport = 8443", "https://127.0.0.1:8443/"),
            ("address = \"::1\"\nport = 8443", "https://[::1]:8443/"),
            ("port = 8443\nurl = \"https://b.example/\"", "https://b.example/"),
        ] as [(String, String?)] {
            let endpoint = try load("bundle_endpoint {\n\(block)\nprofile \"https_spiffe\" {}\n}")
                .bundleEndpoint
            #expect(
                endpoint?.published == OwnBundleEndpoint(profileName: "https_spiffe", url: url))
        }
    }

    @Test("FED-01, FED-04: partners of both profiles are read") func readsPartners() throws {
        let web =
            "bundle_endpoint_url = \"https://b.test/x\" bundle_endpoint_profile \"https_web\" {}"
        let one = try #require(try self.load(Self.partner(web)).federation.partners.first)
        #expect(one.trustDomain.name == "b.test" && one.relationship.profileName == "https_web")
        #expect(one.relationship.bundleEndpointURL == "https://b.test/x")
        #expect(one.bootstrapPath == nil)
        let spiffe = """
            bundle_endpoint_url = "https://b.test/x"
            bundle_endpoint_profile "https_spiffe" { endpoint_spiffe_id = "spiffe://b.test/spire/server" }
            bootstrap_bundle_path = "/b.json" bootstrap_bundle_format = "spiffe"
            """
        let two = try #require(try self.load(Self.partner(spiffe)).federation.partners.first)
        #expect(two.relationship.endpointID?.string == "spiffe://b.test/spire/server")
        #expect(two.bootstrapPath == "/b.json" && two.bootstrapFormat == .spiffe)
    }

    @Test(
        "FED-05, FED-06, FED-21: a partner that is not said in full is refused",
        arguments: [
            ("b.test", "bundle_endpoint_profile \"https_web\" {}", "bundle_endpoint_url"),
            ("b.test", "bundle_endpoint_url = \"https://b.test\"", "bundle_endpoint_profile"),
            (
                "b.test",
                "bundle_endpoint_url = \"http://b.test\" bundle_endpoint_profile \"https_web\" {}",
                "https"
            ),
            (
                "b.test",
                "bundle_endpoint_url = \"https://b.test\" bundle_endpoint_profile \"https_spiffe\" {}",
                "endpoint_spiffe_id"
            ),
            (
                "b.test",
                "bundle_endpoint_url = \"https://b.test\" bundle_endpoint_profile \"https_wbe\" {}",
                "https_web"
            ),
            (
                "example.org",
                "bundle_endpoint_url = \"https://b.test\" bundle_endpoint_profile \"https_web\" {}",
                "own"
            ),
            (
                "B.test",
                "bundle_endpoint_url = \"https://b.test\" bundle_endpoint_profile \"https_web\" {}",
                "trust domain"
            ),
            (
                "b.test",
                "bundle_endpoint_ulr = \"https://b.test\" bundle_endpoint_url = \"https://b.test\" bundle_endpoint_profile \"https_web\" {}",
                "did you mean \"bundle_endpoint_url\"?"
            ),
            (
                "b.test",
                "bundle_endpoint_url = \"https://b.test\" bundle_endpoint_profile \"https_web\" {} bootstrap_bundle_path = \"x\"",
                "leave the key out"
            ),
            (
                "b.test",
                "bundle_endpoint_url = \"https://b.test\" bundle_endpoint_profile \"https_web\" {} bootstrap_bundle_format = \"pem\"",
                "bootstrap_bundle_path"
            ),
        ])
    func refusesPartners(_ name: String, _ body: String, _ part: String) {
        let error = #expect(throws: ConfigurationError.self) {
            try self.load(Self.partner(body, name))
        }
        #expect(error?.message.contains(part) == true, "\(error as Any)")
    }

    @Test func refusesAPartnerThatAppearsTwice() {
        let one =
            "federates_with \"b.test\" { bundle_endpoint_url = \"https://b.test\" bundle_endpoint_profile \"https_web\" {} }"
        let text = Self.minimal.replacing(
            "server {",
            with:
                "server { federation { \(one)\n\(one.replacing("\"b.test\"", with: "\"spiffe://b.test\"", maxReplacements: 1)) }\n",
            maxReplacements: 1)
        let error = #expect(throws: ConfigurationError.self) { try self.load(text) }
        #expect(error?.message.contains("appeared before") == true, "\(error as Any)")
    }

    @Test func skipsPluginsThatAreSwitchedOff() throws {
        let text = Self.minimal.replacing(
            "NodeAttestor", with: "KeyManager \"aws_kms\" { enabled = false }\nNodeAttestor")
        #expect(try self.load(text).keyManager == .disk(keysPath: "/var/lib/cygnet/keys.json"))
    }

    @Test(
        "TRAP-04: a trust domain with an empty label is taken, with a warning",
        arguments: ["acme..test", ".acme.test", "acme.test.", "."])
    func advisesAgainstEmptyLabels(_ name: String) throws {
        let text = Self.minimal.replacing("example.org", with: name)
        #expect(try self.load(text).trustDomain == name)
        #expect(try self.load(text).advice.contains { $0.contains("empty label") })
        #expect(try !self.load(Self.minimal).advice.contains { $0.contains("empty label") })
    }

    @Test func advisesOnLifetimesAndKeysWithoutEffect() throws {
        let text = Self.minimal.replacing(
            "data_dir",
            with: "ca_ttl = \"1h\"\nexperimental { cache_reload_interval = \"1s\" }\ndata_dir")
        let advice = try self.load(text).advice
        #expect(advice.contains { $0.contains("cache_reload_interval") })
        #expect(
            advice.contains { $0.contains("default_x509_svid_ttl 1h0m0s is longer than 10m0s") })
    }
}
