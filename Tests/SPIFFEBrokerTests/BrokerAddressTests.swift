import Testing

@testable import SPIFFEBroker

@Suite("Address of the Broker Endpoint")
struct BrokerAddressTests {
    @Test(
        "BEP-07, BEP-08: unix with an absolute path, tcp with an IP address or a DNS name and a port",
        arguments: [
            ("unix:///run/broker.sock", "unix:/run/broker.sock", true),
            ("unix:/run/broker.sock", "unix:/run/broker.sock", true),
            ("tcp://127.0.0.1:8000", "tcp://127.0.0.1:8000", true),
            ("tcp://127.9.9.9:1", "tcp://127.9.9.9:1", true),
            ("tcp://[::1]:65535", "tcp://[::1]:65535", true),
            ("tcp://[0:0:0:0:0:0:0:1]:1", "tcp://[0:0:0:0:0:0:0:1]:1", true),
            ("tcp://localhost:8443", "tcp://localhost:8443", true),
            ("tcp://192.0.2.1:8000", "tcp://192.0.2.1:8000", false),
            ("tcp://[2001:db8::1]:8000", "tcp://[2001:db8::1]:8000", false),
            ("tcp://[::]:8000", "tcp://[::]:8000", false),
            ("tcp://broker.acme.test:8443", "tcp://broker.acme.test:8443", false),
            ("tcp://127.0.0.1.acme.test:8443", "tcp://127.0.0.1.acme.test:8443", false),
            ("tcp://localhost.acme.test:8443", "tcp://localhost.acme.test:8443", false),
        ])
    func good(_ text: String, _ shortest: String, _ isLocal: Bool) throws {
        let address = try BrokerAddress(text)
        #expect(address.description == shortest && address.isLocal == isLocal)
    }

    @Test(
        "BEP-07, BEP-08: everything else is refused",
        arguments: [
            "", "unix:", "unix://", "unix:run/a.sock", "unix://host/a.sock", "unix:///a?b",
            "unix:///a#b", "http://127.0.0.1:8000", "tcp:127.0.0.1:8000", "tcp://127.0.0.1",
            "tcp://127.0.0.1:", "tcp://127.0.0.1:0", "tcp://127.0.0.1:65536",
            "tcp://127.0.0.1:8000/foo", "tcp://127.0.0.1:8000?x", "tcp://me@127.0.0.1:8000",
            "tcp://:8000", "tcp://[::1]", "tcp://[::1%lo]:80", "tcp://256.0.0.1:80",
            "tcp://1.2.3:80", "tcp://-a.test:80", "tcp://a-.test:80", "tcp://a..test:80",
            "tcp://a_b.test:80", "tcp://b\u{FC}cher.test:80", "tcp://[127.0.0.1]:80",
        ])
    func bad(_ text: String) {
        let error = #expect(throws: BrokerError.self) { try BrokerAddress(text) }
        #expect(error?.code == .invalidAddress)
    }

    @Test(
        "BEP-06: the explicit address goes before SPIFFE_BROKER_SOCKET; without both there is none")
    func resolution() throws {
        let environment = ["SPIFFE_BROKER_SOCKET": "unix:///env.sock"]
        let explicit = try BrokerAddress.resolve(explicit: "unix:///x", environment: environment)
        #expect(explicit.description == "unix:/x")
        #expect(try BrokerAddress.resolve(environment: environment).description == "unix:/env.sock")
        for environment in [[:], ["SPIFFE_BROKER_SOCKET": ""]] {
            let error = #expect(throws: BrokerError.self) {
                try BrokerAddress.resolve(environment: environment)
            }
            #expect(error?.code == .noAddress)
        }
        let empty = #expect(throws: BrokerError.self) {
            try BrokerAddress.resolve(explicit: "", environment: environment)
        }
        #expect(empty?.code == .invalidAddress)
    }
}
