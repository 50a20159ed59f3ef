import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerEndpoints
import ServerTestSupport
import ServiceRuntime
import Testing

@Suite struct RevocationRoutesTests {
    private static func list(_ bytes: [UInt8], at signedAt: Int64 = 784_111_777) -> SignedList {
        SignedList(bytes: bytes, authorityID: "ab", signedAt: signedAt, expiresAt: signedAt + 300)
    }

    private static var lists: RevocationLists {
        var lists = RevocationLists()
        lists.number = 1
        lists.crls = ["ab": self.list([0x30, 0x00]), "cd": self.list([0x30, 0x01])]
        lists.statusList = self.list(Array("a.b.c".utf8))
        return lists
    }

    @Test func givesEachListUnderItsName() throws {
        let lists = Self.lists
        let routes = RevocationRoutes { lists }
        let first = try #require(routes.response(to: DocumentRequest(path: "/crl/ab.crl")))
        #expect(first.status == 200 && first.body == [0x30, 0x00])
        #expect(first.entityTag == EntityTag.of([0x30, 0x00]))
        let second = try #require(routes.response(to: DocumentRequest(path: "/crl/cd.crl")))
        #expect(second.body == [0x30, 0x01] && second.entityTag != first.entityTag)
        let status = try #require(routes.response(to: DocumentRequest(path: "/statuslist")))
        #expect(status.body == Array("a.b.c".utf8))
    }

    @Test(arguments: [
        "/", "/crl", "/crl/", "/crl/.crl", "/crl/ab", "/crl/AB.crl", "/crl/ef.crl", "/crl/ab.crl/",
        "/crl/../ab.crl", "/crl/%61b.crl", "/crl/crl", "/crl.crl", "/statuslist/", "/Statuslist",
    ])
    func hasNothingElse(path: String) {
        let lists = Self.lists
        let routes = RevocationRoutes { lists }
        #expect(routes.response(to: DocumentRequest(path: path)) == nil)
    }

    @Test func saysThatThereIsNothingYet() throws {
        let routes = RevocationRoutes { RevocationLists() }
        for path in ["/crl/ab.crl", "/statuslist"] {
            #expect(routes.response(to: DocumentRequest(path: path))?.status == 503)
        }
        #expect(routes.response(to: DocumentRequest(path: "/")) == nil)
    }

    @Test func aStatusListThatIsOffIsNotThere() {
        var lists = Self.lists
        lists.statusList = nil
        let routes = RevocationRoutes { [lists] in lists }
        #expect(routes.response(to: DocumentRequest(path: "/statuslist")) == nil)
    }

    @Test func givesTheNewListAfterAChange() throws {
        let box = NIOLockedValueBox(Self.lists)
        let routes = RevocationRoutes { box.withLockedValue { $0 } }
        let request = DocumentRequest(path: "/crl/ab.crl")
        let before = try #require(routes.response(to: request))
        #expect(routes.response(to: request) == before)
        box.withLockedValue { $0.crls["ab"] = Self.list([0x30, 0x07]) }
        #expect(routes.response(to: request)?.body == [0x30, 0x07])
        box.withLockedValue { $0.crls["ab"] = nil }
        #expect(routes.response(to: request) == nil)
    }

    @Test("over HTTP: types, tags, dates, and 304 for whoever has the list")
    func overHTTP() async throws {
        let lists = Self.lists
        let endpoint = RevocationEndpoint(
            RevocationRoutes { lists }, place: .tcp(host: "127.0.0.1", port: 0),
            logger: TestPlane.logger)
        try await HTTPSListening.with({ try await endpoint.run(onBound: $0) }) { port in
            let client = HTTPSClient(port: port, isEncrypted: false)
            let crl = try await client.get("/crl/ab.crl").text
            #expect(crl.hasPrefix("HTTP/1.1 200 OK\r\ncontent-type: application/pkix-crl\r\n"))
            #expect(crl.contains("last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"))
            #expect(crl.contains("cache-control: no-cache\r\n"))
            let tag = EntityTag.of([0x30, 0x00])
            #expect(crl.contains("etag: \(tag)\r\n"))
            let known = try await client.get("/crl/ab.crl", "If-None-Match: \(tag)").text
            #expect(known.hasPrefix("HTTP/1.1 304"))
            let status = try await client.get("/statuslist").text
            #expect(status.contains("content-type: application/statuslist+jwt\r\n"))
            #expect(status.contains("access-control-allow-origin: *\r\n"))
            #expect(status.hasSuffix("\r\n\r\na.b.c"))
            #expect(try await client.get("/crl/ef.crl").text.hasPrefix("HTTP/1.1 404"))
        }
    }
}
