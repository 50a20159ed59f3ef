import ServerCore
import ServiceRuntime
import Testing

@testable import ServerProgram

@Suite struct RevocationConfigurationTests {
    private func load(_ block: String, server: String = "") throws -> ServerConfiguration {
        let text = ServerConfigurationTests.minimal.replacing(
            "server {", with: "server {\n\(server)\nrevocation {\n\(block)\n}\n", maxReplacements: 1
        )
        let document = try ConfigurationDocument(parsing: Array(text.utf8), file: "server.conf")
        return try ServerConfiguration(file: ServerFileConfiguration(document))
    }

    @Test func signsCRLsAndServesNothingUnlessAsked() throws {
        for revocation in [try self.load("").revocation, RevocationConfiguration()] {
            #expect(revocation.signsCRLs && revocation.listTTL == .seconds(300))
            #expect(revocation.crlDistributionURL == nil && revocation.statusListURL == nil)
            #expect(revocation.address == nil)
            #expect(revocation.liveLimits == LiveLimits() && revocation.notes.isEmpty)
        }
    }

    @Test func readsEverything() throws {
        let configuration = try self.load(
            """
            crl_distribution_url = "http://crl.example.org:8888/crl//"
            status_list_url = "https://example.org/statuslist"
            crl_ttl = "10m"
            address = "127.0.0.1"
            port = 8888
            """)
        let revocation = configuration.revocation
        #expect(revocation.crlDistributionURL == "http://crl.example.org:8888/crl")
        #expect(revocation.statusListURL == "https://example.org/statuslist")
        #expect(revocation.listTTL == .seconds(600))
        #expect(revocation.address == ListeningAddress(host: "127.0.0.1", port: 8888))
        #expect(!configuration.advice.contains { $0.contains("revocation") })
        let limited = try self.load(
            "max_live_svids_per_agent = 1000\nmax_live_svids_per_entry = 10"
        ).revocation
        #expect(limited.liveLimits.perAgent == 1_000 && limited.liveLimits.perEntry == 10)
        #expect(limited.notes.isEmpty)
        for unlimited in ["0", "65537"] {
            let notes = try self.load("max_live_svids_per_agent = \(unlimited)").revocation.notes
            #expect(notes.count == 1 && notes[0].contains("max_live_svids_per_agent"))
        }
        let off = try self.load("disable_crls = true").revocation
        #expect(!off.signsCRLs)
        #expect(try self.load("port = 80").revocation.address?.host == "0.0.0.0")
    }

    @Test(arguments: [
        ("crl_distribution_uri = \"http://x\"", "did you mean \"crl_distribution_url\"?"),
        ("crl_distribution_url = \"crl.example.org\"", "http://crl.example.org/crl"),
        ("crl_distribution_url = \"ldap://crl.example.org\"", "http://crl.example.org/crl"),
        ("crl_distribution_url = \"http://\"", "http://crl.example.org/crl"),
        ("crl_distribution_url = \"http:///crl\"", "http://crl.example.org/crl"),
        ("crl_distribution_url = \"http://x/a b\"", "http://crl.example.org/crl"),
        ("crl_distribution_url = \"http://x/ä\"", "http://crl.example.org/crl"),
        ("crl_distribution_url = \"http://x/?a=1\"", "http://crl.example.org/crl"),
        ("crl_distribution_url = \"http://x/#a\"", "http://crl.example.org/crl"),
        ("status_list_url = \"/statuslist\"", "https://example.org/statuslist"),
        ("crl_ttl = \"9s\"", "too short"),
        ("crl_ttl = \"5\"", "crl_ttl"),
        ("port = 70000", "out of range"),
        ("max_live_svids_per_agent = -1", "out of range"),
        ("max_live_svids_per_entry = 10000001", "out of range"),
        ("address = \"127.0.0.1\"", "port"),
        ("crl_distribution_url = \"http://x\"\ndisable_crls = true", "exclude each other"),
    ])
    func refuses(block: String, word: String) {
        let error = #expect(throws: ConfigurationError.self) { try self.load(block) }
        #expect(error?.message.contains(word) == true, "\(error as Any)")
    }

    @Test func aStatusListNeedsJWTAuthorities() {
        let error = #expect(throws: ConfigurationError.self) {
            try self.load(
                "status_list_url = \"https://example.org/statuslist\"",
                server: "disable_jwt_svids = true")
        }
        #expect(error?.message.contains("a JWT authority signs the list") == true)
    }

    @Test func saysWhatIsWorthKnowing() throws {
        let nowhere = try self.load(
            "crl_distribution_url = \"http://x\"\nstatus_list_url = \"https://x/s\"")
        #expect(nowhere.advice.contains { $0.contains("nothing here serves the lists") })
        let beside = try self.load(
            "crl_distribution_url = \"http://x\"",
            server: "federation { bundle_endpoint { port = 8443 profile \"https_spiffe\" {} } }")
        #expect(!beside.advice.contains { $0.contains("nothing here serves the lists") })
        let secure = try self.load("crl_distribution_url = \"https://x\"\nport = 8888")
        #expect(secure.advice.contains { $0.contains("fetch CRLs over http only") })
        let long = try self.load("crl_ttl = \"48h\"")
        #expect(long.advice.contains { $0.contains("hide a revocation") })
    }

    @Test func noticesAPortThatIsTaken() {
        let error = #expect(throws: ConfigurationError.self) {
            try self.load("address = \"127.0.0.1\"\nport = 8081")
        }
        #expect(error?.message.contains("revocation and bind_port both want port 8081") == true)
    }
}
