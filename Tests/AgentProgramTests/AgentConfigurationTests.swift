import AgentEndpoints
import SPIFFE
import ServiceRuntime
import Testing

@testable import AgentProgram

@Suite struct AgentConfigurationTests {
    private func load(
        _ agent: String, plugins: String? = nil, _ flags: AgentFlags = AgentFlags()
    ) throws -> AgentConfiguration {
        let text = """
            agent {
                trust_domain = "example.org"
                server_address = "server"
                server_port = "8081"
                \(agent)
            }
            plugins {
                \(plugins ?? """
                KeyManager "memory" { plugin_data {} }
                NodeAttestor "join_token" { plugin_data {} }
                WorkloadAttestor "unix" { plugin_data { discover_workload_path = true } }
                """)
            }
            """
        let document = try ConfigurationDocument(parsing: Array(text.utf8), file: "agent.conf")
        return try AgentConfiguration(file: AgentFileConfiguration(document), flags: flags)
    }

    @Test("WEP-01, WEP-03: the defaults; the Workload API is on a Unix socket")
    func fillsInDefaults() throws {
        let configuration = try self.load("trust_bundle_path = \"/b.pem\"")
        #expect(configuration.serverPort == 8081 && configuration.dataDirectory == ".")
        #expect(configuration.socketPath == "/tmp/spire-agent/public/api.sock")
        #expect(configuration.syncInterval == .seconds(5) && configuration.keyManager == .memory)
        #expect(configuration.unixAttestor.discoverWorkloadPath)
        #expect(
            configuration.trustBundlePath == "/b.pem" && configuration.trustBundleFormat == .pem)
    }

    @Test(arguments: [
        ("", "exactly one of"),
        ("insecure_bootstrap = true\ntrust_bundle_path = \"x\"", "exactly one of"),
        ("trust_bundle_url = \"http://x\"", "https://"),
        (
            "insecure_bootstrap = true\njoin_token = \"a\"\njoin_token_file = \"b\"",
            "exclude each other"
        ),
        ("insecure_bootstrap = true\navailability_target = \"23h\"", "at least 24h0m0s"),
        ("insecure_bootstrap = true\nrebootstrap_mode = \"auto\"", "not supported yet"),
        ("insecure_bootstrap = true\nexperimental { sync_intervall = \"5s\" }", "did you mean"),
        ("insecure_bootstrap = true\nsds { default_svid_name = \"x\" }", "not supported yet"),
        (
            "insecure_bootstrap = true\nexperimental { feature_flags = [\"wit-svd\"] }",
            "did you mean \"wit-svid\"?"
        ),
        ("insecure_bootstrap = true\nadmin_socket_path = \"/a\"", "not supported yet"),
    ])
    func refuses(_ agent: String, _ part: String) {
        let error = #expect(throws: ConfigurationError.self) { try self.load(agent) }
        #expect(error?.message.contains(part) == true, "\(error as Any)")
    }

    @Test func offersWITSVIDsOnlyWhenAsked() throws {
        let off = try self.load("insecure_bootstrap = true")
        #expect(!off.offersWITSVIDs)
        let on = try self.load(
            "insecure_bootstrap = true\nexperimental { feature_flags = [\"wit-svid\"] }")
        #expect(on.offersWITSVIDs && !on.advice.isEmpty)
    }

    @Test func neverRepeatsTheJoinToken() {
        let error = #expect(throws: ConfigurationError.self) {
            try self.load("insecure_bootstrap = true\njoin_token = [\"secret-token\"]")
        }
        #expect(error?.message.contains("secret-token") == false)
    }

    @Test func needsOneOfEachPlugin() {
        #expect(throws: ConfigurationError.self) {
            try self.load("insecure_bootstrap = true", plugins: "KeyManager \"memory\" {}")
        }
    }

    @Test func prefersFlagsOverTheFile() throws {
        var flags = AgentFlags()
        flags.serverPort = 1
        flags.insecureBootstrap = true
        flags.joinToken = "t"
        let configuration = try self.load("join_token = \"u\"", flags)
        #expect(configuration.serverPort == 1 && configuration.joinToken == "t")
    }

    @Test func mapsExitCodes() async {
        let context = CommandContext(environment: [:], output: { _ in }, errorOutput: { _ in })
        for (arguments, code) in [
            (["api", "bogus"], 127), (["api"], 1),
            (["api", "fetch", "-socketPath", "/nonexistent/s"], 1),
            (["api", "fetch", "jwt"], 1), (["-version"], 0), (["api", "fetch", "jwt", "-h"], 0),
            (["healthcheck", "-socketPath", "/nonexistent/s"], 1),
        ] as [([String], Int32)] {
            let result = await CommandContext.$current.withValue(context) {
                await AgentCommandLine.main(arguments: arguments, run: { _ in })
            }
            #expect(result == code, "\(arguments)")
        }
    }

    // MARK: Broker Endpoint

    private func broker(_ block: String) throws -> AgentConfiguration {
        try self.load("insecure_bootstrap = true\nexperimental { broker { \(block) } }")
    }

    @Test("STB-01: without the block there is no Broker Endpoint")
    func noBroker() throws {
        #expect(try self.load("insecure_bootstrap = true").broker == nil)
    }

    @Test("BEP-02, BEP-09, BRK-23: the Broker Endpoint, with SPIRE's keys and one of ours")
    func readsBroker() throws {
        let pid = "type.googleapis.com/spiffe.broker.WorkloadPIDReference"
        let configuration = try self.broker(
            """
            socket_path = "/run/broker/api.sock"
            bind_address = "[::1]:8443"
            brokers = [
                {
                    id = "spiffe://example.org/mesh"
                    allowed_reference_types = [{ type_url = "\(pid)" allow_over_tcp = true }]
                    workload_selectors = ["unix:uid:1001"]
                },
                {
                    id = "spiffe://other.org/mesh"
                    allowed_reference_types = [{ type_url = "*" }, { type_url = "example.org/x" }]
                },
                { id = "spiffe://example.org/idle" },
            ]
            """)
        let broker = try #require(configuration.broker)
        #expect(broker.socketPath == "/run/broker/api.sock")
        #expect(broker.host == "::1" && broker.port == 8443)
        #expect(
            broker.brokers.map(\.id.string) == [
                "spiffe://example.org/mesh", "spiffe://other.org/mesh", "spiffe://example.org/idle",
            ])
        #expect(broker.brokers[0].referenceTypes == [pid: true])
        #expect(broker.brokers[0].workloadSelectors.map(\.description) == ["unix:uid:1001"])
        #expect(broker.brokers[1].referenceTypes == ["*": false, "example.org/x": false])
        // What has no effect is said.
        #expect(configuration.advice.contains { $0.contains("example.org/x") })
        #expect(configuration.advice.contains { $0.contains("may ask for nothing") })
    }

    @Test(
        "BEP-01, BEP-09: an endpoint for nobody, at no place, or beside the Workload API's socket is refused",
        arguments: [
            ("socket_path = \"/b/a.sock\"", "brokers"),
            ("socket_path = \"/b/a.sock\"\nbrokers = []", "brokers"),
            ("brokers = [{ id = \"spiffe://example.org/b\" }]", "socket_path"),
            (
                "bind_address = \"127.0.0.1\"\nbrokers = [{ id = \"spiffe://example.org/b\" }]",
                "port"
            ),
            (
                "bind_address = \"127.0.0.1:0\"\nbrokers = [{ id = \"spiffe://example.org/b\" }]",
                "port"
            ),
            ("bind_address = \"::1:80\"\nbrokers = [{ id = \"spiffe://example.org/b\" }]", "port"),
            ("socket_path = \"/b/a.sock\"\nbrokers = [{}]", "id"),
            ("socket_path = \"/b/a.sock\"\nbrokers = [{ id = \"example.org/b\" }]", "SPIFFE ID"),
            (
                "socket_path = \"/b/a.sock\"\nbrokers = [{ id = \"spiffe://example.org\" }]",
                "SPIFFE ID"
            ),
            (
                "socket_path = \"/b/a.sock\"\nbrokers = [{ id = \"spiffe://example.org/b\" }, { id = \"spiffe://example.org/b\" }]",
                "listed before"
            ),
            (
                "socket_path = \"/b/a.sock\"\nbrokers = [{ id = \"spiffe://example.org/b\" workload_selectors = [\"uid\"] }]",
                "workload_selectors"
            ),
            (
                "socket_path = \"/b/a.sock\"\nbrokers = [{ id = \"spiffe://example.org/b\" allowed_reference_types = [{ allow_over_tcp = true }] }]",
                "type_url"
            ),
            (
                "socket_path = \"/b/a.sock\"\nbrokers = [{ id = \"spiffe://example.org/b\" allowed_reference_typs = [] }]",
                "did you mean"
            ),
            (
                "socket_path = \"/tmp/spire-agent/public/broker.sock\"\nbrokers = [{ id = \"spiffe://example.org/b\" }]",
                "directory"
            ),
            (
                "socket_path = \"/tmp/spire-agent/public/../public/broker.sock\"\nbrokers = [{ id = \"spiffe://example.org/b\" }]",
                "directory"
            ),
        ])
    func refusesBroker(_ block: String, _ part: String) {
        let error = #expect(throws: ConfigurationError.self) { try self.broker(block) }
        #expect(error?.message.contains(part) == true, "\(error as Any)")
    }
}
