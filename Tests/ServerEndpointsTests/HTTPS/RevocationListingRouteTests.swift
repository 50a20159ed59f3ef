import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerEndpoints
import ServerTestSupport
import ServiceRuntime
import Testing

@Suite struct RevocationListingRouteTests {
    private static func lists(_ number: UInt64, crl: [UInt8] = [0x30, 0x00]) -> RevocationLists {
        var lists = RevocationLists()
        lists.number = number
        lists.crls = [
            "ab": SignedList(bytes: crl, authorityID: "ab", signedAt: 1_000, expiresAt: 1_300)
        ]
        return lists
    }

    private static let request = DocumentRequest(path: "/revocations")

    @Test func givesTheListingAndANewOneAfterAPublication() throws {
        let trustDomain = try TrustDomain("acme.test")
        let box = NIOLockedValueBox(Self.lists(1))
        let route = RevocationListingRoute(trustDomain, statusListURI: nil) {
            box.withLockedValue { $0 }
        }
        let first = try #require(route.response(to: Self.request))
        #expect(first.status == 200 && first.entityTag == EntityTag.of(first.body))
        let listing = try RevocationListing(first.body, of: trustDomain)
        #expect(listing.crls.map(\.authorityID) == ["ab"] && listing.statusList == nil)
        #expect(route.response(to: Self.request) == first)
        box.withLockedValue { $0 = Self.lists(2, crl: [0x30, 0x01]) }
        let second = try #require(route.response(to: Self.request))
        #expect(second.entityTag != first.entityTag)
        for path in ["/", "/revocations/", "/Revocations", "/crl/ab.crl", "/statuslist"] {
            #expect(route.response(to: DocumentRequest(path: path)) == nil)
        }
    }

    @Test func saysThatThereIsNothingYetAndNothingWhereListsAreOff() throws {
        let trustDomain = try TrustDomain("acme.test")
        let box = NIOLockedValueBox(RevocationLists())
        let route = RevocationListingRoute(trustDomain, statusListURI: nil) {
            box.withLockedValue { $0 }
        }
        #expect(route.response(to: Self.request)?.status == 503)
        box.withLockedValue { $0.number = 1 }
        #expect(route.response(to: Self.request) == nil)
    }

    @Test(
        "beside the bundle: plain consumers see no difference, and who waits hears of the next listing",
        .timeLimit(.minutes(2)))
    func besideTheBundle() async throws {
        let plane = try await TestPlane(clock: TestClock(Int64(Date().timeIntervalSince1970)))
        let identity = ServerIdentity(issuer: plane.issuer, logger: TestPlane.logger)
        try await identity.rotate()
        let state = NIOLockedValueBox((lists: Self.lists(1), asked: 0))
        let observers = NIOLockedValueBox<[@Sendable () -> Void]>([])
        let listing = RevocationListingRoute(
            plane.trustDomain, statusListURI: nil,
            observe: { body in observers.withLockedValue { $0.append(body) } },
            lists: {
                state.withLockedValue { state in
                    state.asked += 1
                    return state.lists
                }
            })
        let routes = RevocationRoutes { state.withLockedValue { $0.lists } }
        let endpoint = BundleEndpoint(
            plane.directory, revocations: routes, listing: listing, refreshHint: .seconds(300),
            place: .tcp(host: "127.0.0.1", port: 0),
            certificate: SVIDServingCertificate(identity), logger: TestPlane.logger)
        try await HTTPSListening.with({ try await endpoint.run(onBound: $0) }) { port in
            let client = HTTPSClient(port: port)
            let bundle = try await client.get("/").text
            #expect(bundle.hasPrefix("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"))
            #expect(bundle.contains("spiffe_sequence") && !bundle.contains("revocations"))
            let answer = try await client.get("/revocations", "Prefer: wait=60")
            #expect(
                answer.head.hasPrefix(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.cygnet.revocations+json\r\n"))
            #expect(answer.head.contains("cache-control: no-cache\r\n"))
            #expect(answer.head.contains("\r\npreference-applied: wait=60\r\n"))
            #expect(try await client.get("/crl/ab.crl").text.hasPrefix("HTTP/1.1 200 OK\r\n"))
            let tag = EntityTag.of(answer.body)
            #expect(
                try await client.get("/revocations", "If-None-Match: \(tag)").text.hasPrefix(
                    "HTTP/1.1 304"))
            let before = state.withLockedValue { $0.asked }
            let waiting = Task {
                try await client.get("/revocations", "If-None-Match: \(tag)", "Prefer: wait=60")
            }
            // Asked once for the answer and once more when the place was taken: it waits.
            while state.withLockedValue({ $0.asked }) < before + 2 {
                try await Task.sleep(for: .milliseconds(2))
            }
            state.withLockedValue { $0.lists = Self.lists(2, crl: [0x30, 0x01]) }
            for observer in observers.withLockedValue({ $0 }) { observer() }
            let news = try await waiting.value
            #expect(news.text.hasPrefix("HTTP/1.1 200 OK\r\n"))
            let read = try RevocationListing(news.body, of: plane.trustDomain)
            #expect(read.crls.map(\.sha256) == [RevocationListing.digest([0x30, 0x01])])
        }
    }
}
