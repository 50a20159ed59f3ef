import Foundation
import SPIFFE
import Testing

@testable import AgentCore

@Suite("JWT-SVID cache")
struct JWTSVIDCacheTests {
    private let now = Date()

    private func token(_ entry: AuthorizedEntry, _ text: String, keyID: String = "k")
        -> IssuedJWTSVID
    {
        IssuedJWTSVID(
            spiffeID: entry.spiffeID, token: text, issuedAt: self.now,
            expiresAt: self.now.addingTimeInterval(300), keyID: keyID)
    }

    private func ask(
        _ cache: inout JWTSVIDCache, _ entry: AuthorizedEntry, _ audience: [String],
        isConnected: Bool = true, after seconds: TimeInterval = 0
    ) -> JWTSVIDCache.Answer {
        cache.ask(
            entry, audience: audience, isConnected: isConnected,
            now: self.now.addingTimeInterval(seconds))
    }

    @Test("TRAP-21: one request serves all who ask for the same audiences in any order")
    func singleFlight() throws {
        var cache = JWTSVIDCache(random: { 0.5 })
        let entry = try AuthorizedEntry.make("a", ["unix:uid:1"])
        guard case .wait(let id, true, nil) = self.ask(&cache, entry, ["x", "y"]) else {
            throw Unexpected("new")
        }
        guard case .wait(id, false, nil) = self.ask(&cache, entry, ["y", "x"]) else {
            throw Unexpected("joined")
        }
        guard case .wait(_, true, nil) = self.ask(&cache, entry, ["x"]) else {
            throw Unexpected("other")
        }
        cache.signed(id, self.token(entry, "t"))
        guard case .token(let svid) = self.ask(&cache, entry, ["x", "y"]) else {
            throw Unexpected("hit")
        }
        #expect(svid.token == "t")
    }

    @Test(
        "WAPI-32: a token is not given out for an audience that only looks like the one asked for")
    func audienceBytes() throws {
        // The same letter, as one code point and as two: equal for Unicode, two audiences for a verifier.
        let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
        var cache = JWTSVIDCache(random: { 0.5 })
        let entry = try AuthorizedEntry.make("a", ["unix:uid:1"])
        guard case .wait(let id, true, nil) = self.ask(&cache, entry, [composed]) else {
            throw Unexpected("new")
        }
        guard case .wait(let other, true, nil) = self.ask(&cache, entry, [decomposed]) else {
            throw Unexpected("joined the request for another audience")
        }
        cache.signed(id, self.token(entry, "t"))
        guard case .wait(other, false, nil) = self.ask(&cache, entry, [decomposed]) else {
            throw Unexpected("hit the token for another audience")
        }
        guard
            case .wait(let both, true, nil) = self.ask(
                &cache, entry, [decomposed, composed, composed])
        else { throw Unexpected("both") }
        let asked = cache.request(both)?.audience.map { Array($0.utf8) }
        #expect(asked == [Array(decomposed.utf8), Array(composed.utf8)])
    }

    @Test(
        "TRAP-21: past half life a token is replaced, and handed out when the server cannot be asked"
    )
    func halfLife() throws {
        var cache = JWTSVIDCache(random: { 0.5 })
        let entry = try AuthorizedEntry.make("a", ["unix:uid:1"])
        guard case .wait(let id, _, _) = self.ask(&cache, entry, ["x"]) else {
            throw Unexpected("new")
        }
        cache.signed(id, self.token(entry, "t"))
        guard case .token = self.ask(&cache, entry, ["x"], after: 149) else {
            throw Unexpected("fresh")
        }
        guard case .token = self.ask(&cache, entry, ["x"], isConnected: false, after: 200)
        else { throw Unexpected("disconnected") }
        guard case .wait(_, true, let fallback) = self.ask(&cache, entry, ["x"], after: 151)
        else { throw Unexpected("stale") }
        #expect(fallback?.token == "t")
        guard case .wait(_, _, nil) = self.ask(&cache, entry, ["x"], isConnected: false, after: 301)
        else { throw Unexpected("expired") }
    }

    @Test("tokens of changed entries and withdrawn authorities are not handed out")
    func withdrawn() throws {
        var cache = JWTSVIDCache(random: { 0.5 })
        let entry = try AuthorizedEntry.make("a", ["unix:uid:1"])
        guard case .wait(let first, _, _) = self.ask(&cache, entry, ["x"]) else {
            throw Unexpected("new")
        }
        cache.signed(first, self.token(entry, "t", keyID: "old"))
        cache.drop(keyIDs: ["old"])
        guard case .wait(let second, true, nil) = self.ask(&cache, entry, ["x"]) else {
            throw Unexpected("key")
        }
        // The entry changes while the request is under way: the answer is not kept.
        cache.drop(entryIDs: ["a"])
        cache.signed(second, self.token(entry, "late"))
        guard case .wait(_, true, nil) = self.ask(&cache, entry, ["x"]) else {
            throw Unexpected("entry")
        }
        #expect(cache.count == 0)
    }

    @Test("entries that ask for a jti get a token of their own each time")
    func jti() throws {
        var cache = JWTSVIDCache(random: { 0.5 })
        var entry = try AuthorizedEntry.make("a", ["unix:uid:1"])
        entry.includesJTI = true
        guard case .wait(let first, true, _) = self.ask(&cache, entry, ["x"]),
            case .wait(let second, true, _) = self.ask(&cache, entry, ["x"])
        else { throw Unexpected("shared") }
        #expect(first != second)
        cache.signed(first, self.token(entry, "t"))
        #expect(cache.count == 0)
    }

    @Test("the number of tokens is bounded")
    func bound() throws {
        var cache = JWTSVIDCache(maximum: 20, random: { 0.5 })
        let entry = try AuthorizedEntry.make("a", ["unix:uid:1"])
        for index in 0..<100 {
            guard case .wait(let id, _, _) = self.ask(&cache, entry, ["x\(index)"]) else {
                continue
            }
            cache.signed(id, self.token(entry, "t"))
        }
        #expect(cache.count <= 20)
    }
}
