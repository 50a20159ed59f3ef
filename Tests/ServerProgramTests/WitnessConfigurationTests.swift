import Logging
import ServiceRuntime
import Testing
import Transparency

@testable import ServerProgram

@Suite struct WitnessConfigurationTests {
    /// Made by another program from the seed 00…1f with algorithms 1 and 4, and from 01…20.
    static let log = "example.org/ledger+5f5b716d+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    static let one = "one.test+5f136264+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    static let two = "two.test+ecaf80f2+BHm1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk"

    private func server(_ block: String) throws -> ServerConfiguration {
        let text = ServerConfigurationTests.minimal.replacing(
            "server {", with: "server {\nledger {\n\(block)\n}\n", maxReplacements: 1)
        let document = try ConfigurationDocument(parsing: Array(text.utf8), file: "server.conf")
        return try ServerConfiguration(file: ServerFileConfiguration(document))
    }

    private func witness(_ text: String) throws -> WitnessConfiguration {
        try WitnessConfiguration(
            ConfigurationDocument(parsing: Array(text.utf8), file: "witness.conf"))
    }

    @Test func asksNobodyUnlessTold() throws {
        let configuration = try self.server("port = 8090")
        #expect(configuration.ledgerWitnesses == nil && configuration.ledgerEndpoint != nil)
    }

    @Test func readsWitnesses() throws {
        let blocks = """
            witness "one" { url = "https://one.test/w" key = "\(Self.one)" }
            witness "two" { url = "http://127.0.0.1:8095" key = "\(Self.two)" }
            """
        let found = try self.server(blocks)
        let witnesses = try #require(found.ledgerWitnesses)
        #expect(witnesses.quorum == 2 && witnesses.witnesses.map(\.name) == ["one", "two"])
        #expect(witnesses.witnesses[0].key.description == Self.one)
        #expect(found.ledgerEndpoint == nil)
        let served = try self.server(blocks + "\nquorum = 1\nport = 8090")
        #expect(served.ledgerWitnesses?.quorum == 1 && served.ledgerEndpoint != nil)
    }

    @Test(arguments: [
        ("witness \"a\" { key = \"\(one)\" }", "url"),
        ("witness \"a\" { url = \"https://a.test\" }", "key"),
        ("witness \"a\" { url = \"http://a.test\" key = \"\(one)\" }", "on this machine"),
        (
            "witness \"a\" { url = \"http://127.0.0.1.evil.test\" key = \"\(one)\" }",
            "on this machine"
        ),
        ("witness \"a\" { url = \"ftp://a.test\" key = \"\(one)\" }", "expected an https address"),
        ("witness \"a\" { url = \"https://a.test\" key = \"\(log)\" }", "-printKey"),
        ("witness \"a\" { url = \"https://a.test\" key = \"x+y\" }", "verifier key"),
        ("witness \"a\" { url = \"https://a.test\" key = \"\(one)\" quorum = 1 }", "quorum"),
        (
            "witness \"a\" { url = \"https://a.test\" key = \"\(one)\" }\n"
                + "witness \"b\" { url = \"https://b.test\" key = \"\(one)\" }", "counts once"
        ),
        ("witness \"a\" { url = \"https://a.test\" key = \"\(one)\" }\nquorum = 2", "out of range"),
        ("witness \"a\" { url = \"https://a.test\" key = \"\(one)\" }\nquorum = 0", "out of range"),
        ("quorum = 1", "needs witnesses"),
        ("witness \"a\" { url = \"https://a.test\" key = \"\(one)\" }\naddress = \"::1\"", "port"),
    ])
    func refusesWhatCannotBeMeant(_ block: String, _ word: String) {
        let error = #expect(throws: ConfigurationError.self) { try self.server(block) }
        #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
    }

    @Test func readsAWitnessFile() throws {
        let found = try self.witness(
            """
            name = "w.example.net"
            data_dir = "/w"
            port = 8095
            logs = ["\(Self.log)"]
            log_level = "DEBUG"
            """)
        #expect(found.name.string == "w.example.net" && found.dataDirectory == "/w")
        #expect(found.address == ListeningAddress(host: "0.0.0.0", port: 8095))
        #expect(found.logs.map(\.description) == [Self.log] && found.certificate == nil)
        #expect(found.log.level == .debug)
    }

    @Test(arguments: [
        ("data_dir = \"/w\" port = 1 logs = [\"\(log)\"]", "name"),
        ("name = \"a b\" data_dir = \"/w\" port = 1 logs = [\"\(log)\"]", "without spaces"),
        ("name = \"a\" port = 1 logs = [\"\(log)\"]", "data_dir"),
        ("name = \"a\" data_dir = \"/w\" logs = [\"\(log)\"]", "port"),
        ("name = \"a\" data_dir = \"/w\" port = 1", "logs"),
        ("name = \"a\" data_dir = \"/w\" port = 1 logs = []", "logs"),
        ("name = \"a\" data_dir = \"/w\" port = 1 logs = [\"nonsense\"]", "verifier key"),
        ("name = \"a\" data_dir = \"/w\" port = 1 logs = [\"\(one)\"]", "that of a witness"),
        (
            "name = \"a\" data_dir = \"/w\" port = 1 logs = [\"\(log)\"] prot = 2",
            "did you mean \"port\"?"
        ),
    ])
    func refusesAWitnessFile(_ text: String, _ word: String) {
        let error = #expect(throws: ConfigurationError.self) { try self.witness(text) }
        #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
    }
}
