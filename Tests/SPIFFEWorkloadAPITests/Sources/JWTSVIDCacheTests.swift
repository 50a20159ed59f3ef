import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing

@Suite("JWT-SVID cache") struct JWTSVIDCacheTests {
    private let authority: TestAuthority
    private let source: TestJWTSource
    private let time = NIOLockedValueBox(Date())

    init() throws {
        self.authority = try TestAuthority("acme.test")
        self.source = TestJWTSource(self.authority, "/web")
    }

    private func cache(_ maximumTokens: Int = 64) -> JWTSVIDCache {
        let time = self.time
        return JWTSVIDCache(self.source, maximumTokens: maximumTokens) {
            time.withLockedValue { $0 }
        }
    }

    private func pass(_ seconds: TimeInterval) {
        self.time.withLockedValue { $0.addTimeInterval(seconds) }
    }

    @Test("A token is used until half of its time is over; then there is a new one")
    func halfLife() async throws {
        let cache = self.cache()
        let first = try await cache.jwtSVID(audience: ["db"])
        self.pass(140)
        #expect(try await cache.jwtSVID(audience: ["db"]) == first)
        #expect(self.source.requestCount == 1)
        self.pass(20)
        #expect(try await cache.jwtSVID(audience: ["db"]) != first)
        #expect(self.source.requestCount == 2)
    }

    @Test("Each audience and each identity has a token of its own")
    func keys() async throws {
        let cache = self.cache()
        #expect(try await cache.jwtSVID(audience: ["a"]).audience == ["a"])
        #expect(try await cache.jwtSVID(audience: ["b"]).audience == ["b"])
        _ = try await cache.jwtSVID(audience: ["a"], id: try self.authority.id("/web"))
        #expect(self.source.requestCount == 3)
    }

    @Test("While the source fails the old token goes on to its end, and the source gets a rest")
    func failing() async throws {
        let cache = self.cache()
        let first = try await cache.jwtSVID(audience: ["db"])
        self.source.withdraw()
        self.pass(160)
        for _ in 0..<3 { #expect(try await cache.jwtSVID(audience: ["db"]) == first) }
        #expect(self.source.requestCount == 2)
        self.pass(6)
        #expect(try await cache.jwtSVID(audience: ["db"]) == first)
        #expect(self.source.requestCount == 3)
        self.pass(130)
        await #expect(throws: TestSourceError.self) { try await cache.jwtSVID(audience: ["db"]) }
    }

    @Test("It keeps no more tokens than it may")
    func bound() async throws {
        let cache = self.cache(2)
        for name in ["a", "b", "c"] { _ = try await cache.jwtSVID(audience: [name]) }
        _ = try await cache.jwtSVID(audience: ["c"])
        #expect(self.source.requestCount == 3)
        for name in ["a", "b"] { _ = try await cache.jwtSVID(audience: [name]) }
        #expect(self.source.requestCount > 3)
    }
}
