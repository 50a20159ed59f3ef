import SPIFFEWorkloadAPI
import Testing

@Suite("Address of the Workload API") struct WorkloadAPIAddressTests {
    @Test(
        "WEP-10, WEP-11: good addresses are taken",
        arguments: [
            ("unix:///run/acme/a.sock", "unix:/run/acme/a.sock"),
            ("unix:/run/acme/a.sock", "unix:/run/acme/a.sock"),
            ("unix:///run/a%20b.sock", "unix:/run/a b.sock"),
            ("unix:/a%25b", "unix:/a%25b"), ("unix:/a%3fb%23c", "unix:/a%3Fb%23c"),
            ("unix:////run/a.sock", "unix:////run/a.sock"),
            ("tcp://127.0.0.1:8000", "tcp://127.0.0.1:8000"),
            ("tcp://[::1]:8000", "tcp://[::1]:8000"),
            ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"),
            ("tcp://127.0.0.1:65535", "tcp://127.0.0.1:65535"),
        ])
    func good(string: String, description: String) throws {
        let address = try WorkloadAPIAddress(string)
        #expect(address.description == description)
        #expect(try WorkloadAPIAddress(address.description) == address)
    }

    @Test(
        "WEP-09, WEP-10, WEP-11: all else is refused",
        arguments: [
            "", "/run/a.sock", "http://127.0.0.1:80", "dns:///localhost:80", "UNIX:///run/a.sock",
            "unix", "unix:", "unix://", "unix:///", "unix:a.sock", "unix:./a.sock",
            "unix://run/a.sock", "unix://localhost/run/a.sock", "unix:///run/a.sock?x",
            "unix:///run/a.sock#f", "unix:///run/a.sock?", "unix:///run/a%00.sock",
            "unix:///run/a%zz.sock", "unix:///run/a\u{0}.sock",
            "unix:///" + String(repeating: "a", count: 107),
            "tcp:127.0.0.1:80", "tcp://", "tcp://localhost:8000", "tcp://127.0.0.1",
            "tcp://127.0.0.1:", "tcp://127.0.0.1:0", "tcp://127.0.0.1:65536",
            "tcp://127.0.0.1:+80", "tcp://127.0.0.1:080", "tcp://127.0.0.1:80/",
            "tcp://127.0.0.1:80/foo", "tcp://u@127.0.0.1:80", "tcp://u:p@127.0.0.1:80",
            "tcp://127.0.0.1:80?q", "tcp://127.0.0.1:80#f", "tcp://127.1:80", "tcp://0127.0.0.1:80",
            "tcp://::1:80", "tcp://[::1]", "tcp://[::1]80", "tcp://[::1%lo]:80",
            "tcp://[127.0.0.1]:80", "tcp://[]:80", " tcp://127.0.0.1:80",
        ])
    func bad(string: String) throws {
        let error = try #require(throws: WorkloadAPIError.self) { try WorkloadAPIAddress(string) }
        #expect(error.code == .invalidAddress)
    }

    @Test("A path may have as many bytes as a socket address holds")
    func longestPath() throws {
        _ = try WorkloadAPIAddress("unix:/" + String(repeating: "a", count: 106))
    }

    @Test("WEP-08: the explicit address wins")
    func explicit() throws {
        let address = try WorkloadAPIAddress.resolve(
            explicit: "unix:/a", environment: ["SPIFFE_ENDPOINT_SOCKET": "unix:/b"])
        #expect(address.description == "unix:/a")
    }

    @Test("WEP-08: without it the environment counts")
    func environment() throws {
        let address = try WorkloadAPIAddress.resolve(
            environment: ["SPIFFE_ENDPOINT_SOCKET": "unix:/b"])
        #expect(address.description == "unix:/b")
    }

    @Test(
        "WEP-08: with neither there is no address",
        arguments: [[:], ["SPIFFE_ENDPOINT_SOCKET": ""]])
    func neither(environment: [String: String]) throws {
        let error = try #require(throws: WorkloadAPIError.self) {
            try WorkloadAPIAddress.resolve(environment: environment)
        }
        #expect(error.code == .noAddress)
    }

    @Test("WEP-08: a bad explicit address is not replaced by that of the environment")
    func badExplicit() throws {
        let error = try #require(throws: WorkloadAPIError.self) {
            try WorkloadAPIAddress.resolve(
                explicit: "", environment: ["SPIFFE_ENDPOINT_SOCKET": "unix:/b"])
        }
        #expect(error.code == .invalidAddress)
    }
}
