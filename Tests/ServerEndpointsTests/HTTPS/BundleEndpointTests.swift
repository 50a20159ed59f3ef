import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOSSL
import SPIFFE
import ServerCore
import ServerEndpoints
import ServerTestSupport
import ServiceRuntime
import Testing

@Suite struct BundleEndpointTests {
    /// A bundle endpoint of profile `https_spiffe` for a control plane of its own.
    struct Running: Sendable {
        let plane: TestPlane
        let identity: ServerIdentity
        let client: HTTPSClient
        let holders: PartnerHolders
    }

    private func serving(
        _ body: @escaping @Sendable (Running) async throws -> Void
    ) async throws {
        let plane = try await TestPlane(clock: TestClock(Int64(Date().timeIntervalSince1970)))
        let identity = ServerIdentity(issuer: plane.issuer, logger: TestPlane.logger)
        try await identity.rotate()
        // Longer than any test: one that would need the bound does not end in time.
        let holders = PartnerHolders(bound: .seconds(600), logger: TestPlane.logger)
        let endpoint = BundleEndpoint(
            plane.directory, refreshHint: .seconds(300), place: .tcp(host: "127.0.0.1", port: 0),
            certificate: SVIDServingCertificate(identity), holders: holders,
            logger: TestPlane.logger)
        try await HTTPSListening.with({ try await endpoint.run(onBound: $0) }) { port in
            try await body(
                Running(
                    plane: plane, identity: identity, client: HTTPSClient(port: port),
                    holders: holders))
        }
    }

    @Test("FED-11 to FED-14: anybody gets the newest bundle as JSON, without showing a certificate")
    func servesTheBundle() async throws {
        try await self.serving { running in
            let answer = try await running.client.get()
            #expect(answer.head.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(answer.head.contains("content-type: application/json\r\n"))
            #expect(answer.head.contains("cache-control: no-cache\r\n"))
            let domain = running.plane.trustDomain
            let first = try SPIFFEBundle(trustDomain: domain, json: answer.body)
            #expect(first.refreshHint == .seconds(300))
            #expect(first.sequenceNumber == running.plane.directory.ownBundle?.sequenceNumber)
            _ = try await running.plane.store.updateBundle(domain) { $0.jwtAuthorities = [] }
            let second = try SPIFFEBundle(
                trustDomain: domain, json: try await running.client.get().body)
            #expect(second.jwtAuthorities.isEmpty && !first.jwtAuthorities.isEmpty)
            #expect(try #require(second.sequenceNumber) > (try #require(first.sequenceNumber)))
        }
    }

    @Test func tellsWhoHasTheBundleAlready() async throws {
        try await self.serving { running in
            let head = try await running.client.get().head
            let line = try #require(
                head.components(separatedBy: "\r\n").first { $0.hasPrefix("etag: ") })
            let tag = String(line.dropFirst("etag: ".count))
            let same = try await running.client.get("/", "If-None-Match: \(tag)")
            #expect(same.text.hasPrefix("HTTP/1.1 304") && same.body.isEmpty)
            _ = try await running.plane.store.updateBundle(running.plane.trustDomain) {
                $0.jwtAuthorities = []
            }
            let changed = try await running.client.get("/", "If-None-Match: \(tag)")
            #expect(changed.text.hasPrefix("HTTP/1.1 200") && !changed.body.isEmpty)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func tellsOfAChangeAsItHappens() async throws {
        try await self.serving { running in
            let domain = running.plane.trustDomain
            func tag(_ answer: HTTPSClient.Answer) throws -> String {
                let line = answer.head.components(separatedBy: "\r\n").first {
                    $0.hasPrefix("etag: ")
                }
                return String(try #require(line).dropFirst("etag: ".count))
            }
            func waiting(_ tag: String) -> Task<HTTPSClient.Answer, any Error> {
                Task {
                    try await running.client.get(
                        "/", "If-None-Match: \(tag)", "Prefer: wait=60",
                        "Cygnet-Trust-Domain: energy.test")
                }
            }
            /// Returns once a partner is known to have a bundle that is older than `number`.
            func noted(_ number: UInt64) async throws {
                while !running.holders.isAwaited(number) {
                    try await Task.sleep(for: .milliseconds(2))
                }
            }
            let first = try await running.client.get("/", "Prefer: wait=60")
            #expect(first.head.contains("\r\npreference-applied: wait=60\r\n"))
            let old = try #require(running.plane.directory.ownBundle?.sequenceNumber)
            // Nobody waits, so nobody is waited for.
            await running.holders.awaitBundle(old + 1)
            let request = waiting(try tag(first))
            try await noted(old + 1)
            let changed = try await running.plane.store.updateBundle(domain) {
                $0.jwtAuthorities = []
            }
            let answer = try await request.value
            #expect(answer.text.hasPrefix("HTTP/1.1 200"))
            let bundle = try SPIFFEBundle(trustDomain: domain, json: answer.body)
            #expect(bundle.sequenceNumber == changed.sequenceNumber)
            // It has been told, and has not said that it has it.
            let isDone = NIOLockedValueBox(false)
            let activation = Task {
                await running.holders.awaitBundle(changed.sequenceNumber)
                isDone.withLockedValue { $0 = true }
            }
            // Others who have it, in their own name or in no name, do not speak for it.
            _ = try await running.client.get(
                "/", "If-None-Match: \(try tag(answer))", "Prefer: wait=1")
            _ = try await running.client.get(
                "/", "If-None-Match: *", "Prefer: wait=1", "Cygnet-Trust-Domain: energy.test")
            #expect(!isDone.withLockedValue { $0 })
            let next = waiting(try tag(answer))
            await activation.value
            next.cancel()
        }
    }

    @Test("FED-24: the certificate is the server's X509-SVID, and a renewed one needs no restart")
    func showsTheServersSVID() async throws {
        try await self.serving { running in
            let bundles = DirectoryBundleSource(directory: running.plane.directory)
            let first = try await running.client.get().chain
            let verified = try await X509SVIDVerifier(bundles: bundles).verify(chainDER: first)
            #expect(verified.id == (try running.plane.id("/spire/server")))
            #expect(try await running.client.get().chain == first)
            try await running.identity.rotate()
            let second = try await running.client.get().chain
            #expect(second != first)
            #expect(second == (try running.identity.x509SVID().certificateChainDER))
        }
    }

    @Test("FED-03: TLS 1.2 and 1.3 with modern ciphers, and nothing older")
    func speaksModernTLS() async throws {
        try await self.serving { running in
            var client = running.client
            for version in [TLSVersion.tlsv13, .tlsv12] {
                client.maximumVersion = version
                #expect(try await client.get().text.hasPrefix("HTTP/1.1 200"), "\(version)")
            }
            client.cipherSuites =
                "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:AES128-GCM-SHA256:AES128-SHA"
            let old = try await client.get()
            #expect(old.text.isEmpty && old.error != nil, "CBC, RSA key exchange")
            client.cipherSuites = nil
            client.maximumVersion = .tlsv11
            let older = try await client.get()
            #expect(older.text.isEmpty && older.error != nil, "TLS 1.1")
        }
    }

    @Test func servesNothingElse() async throws {
        try await self.serving { running in
            #expect(try await running.client.get("/other").text.hasPrefix("HTTP/1.1 404"))
            #expect(try await running.client.get("/?query=1").text.hasPrefix("HTTP/1.1 200"))
            let post = try await running.client.send("POST / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(post.text.hasPrefix("HTTP/1.1 405"))
        }
    }

    @Test func keepsTheLastBundleThatCanBePublished() async throws {
        try await self.serving { running in
            let first = try await running.client.get().body
            _ = try await running.plane.store.updateBundle(running.plane.trustDomain) {
                $0.x509Authorities.append(.init(der: [0x30, 0x00]))
            }
            #expect(try await running.client.get().body == first)
        }
    }
}

/// Runs something that listens, for as long as a test needs it.
enum HTTPSListening {
    static func with(
        _ run:
            @escaping @Sendable (_ onBound: @escaping @Sendable (Int) -> Void) async throws -> Void,
        _ body: @escaping @Sendable (Int) async throws -> Void
    ) async throws {
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await run { continuation.yield($0) } }
            group.addTask { for await port in ports { return try await body(port) } }
            try await group.next()
            group.cancelAll()
        }
    }
}
