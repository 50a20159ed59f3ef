import SPIFFE
import Testing

@Suite("SPIFFE ID rules")
struct SPIFFEIDTests {
    private static func text(_ before: String, _ byte: Int, _ after: String) -> String {
        String(decoding: Array(before.utf8) + [UInt8(byte)] + Array(after.utf8), as: UTF8.self)
    }

    @Test("ID-07: of all 256 bytes 39 may be in a trust domain, and a slash ends it")
    func trustDomainBytes() {
        let allowed = Set("abcdefghijklmnopqrstuvwxyz0123456789.-_".utf8)
        #expect(allowed.count == 39)
        for byte in 0...255 {
            let id = try? SPIFFEID(Self.text("spiffe://ac", byte, "me/x"))
            if byte == 0x2F {
                #expect(id?.trustDomain.name == "ac")
                #expect(id?.path == "/me/x")
            } else {
                #expect((id != nil) == allowed.contains(UInt8(byte)), "byte \(byte)")
            }
            let name = try? TrustDomain(Self.text("ac", byte, "me"))
            #expect((name != nil) == allowed.contains(UInt8(byte)), "byte \(byte)")
        }
    }

    @Test("ID-17: of all 256 bytes 65 may be in a path segment")
    func pathBytes() {
        let allowed = Set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_/".utf8)
        for byte in 0...255 {
            let id = try? SPIFFEID(Self.text("spiffe://acme.test/a", byte, "b"))
            #expect((id != nil) == allowed.contains(UInt8(byte)), "byte \(byte)")
        }
    }

    @Test("ID-02: an upper-case scheme is refused, at every position")
    func scheme() {
        let scheme = Array("spiffe://".utf8)
        for index in 0..<6 {
            var other = scheme
            other[index] -= 0x20
            let text = String(decoding: other, as: UTF8.self) + "acme.test/x"
            #expect((try? SPIFFEID(text)) == nil)
        }
    }

    @Test("ID-13: a trust domain has at most 255 bytes")
    func trustDomainLength() {
        let longest = String(repeating: "a", count: 255)
        #expect((try? TrustDomain(longest))?.name == longest)
        #expect((try? SPIFFEID("spiffe://\(longest)/x"))?.trustDomain.name == longest)
        #expect((try? SPIFFEID("spiffe://\(longest)"))?.path == "")
        #expect((try? TrustDomain(longest + "a")) == nil)
        #expect((try? SPIFFEID("spiffe://\(longest)a/x")) == nil)
    }

    @Test("ID-14 ID-15: an ID has at most 2048 bytes")
    func length() throws {
        let start = "spiffe://acme.test/"
        let longest = start + String(repeating: "a", count: 2048 - start.utf8.count)
        #expect(try SPIFFEID(longest).string == longest)
        #expect(throws: SPIFFEIDError.self) { try SPIFFEID(longest + "a") }
        #expect(throws: SPIFFEIDError.self) {
            try SPIFFEID(
                trustDomain: TrustDomain("acme.test"), path: String(longest.dropFirst(18)) + "a")
        }
    }

    @Test("ID-16: without a path the path is the empty string")
    func noPath() throws {
        let id = try SPIFFEID("spiffe://acme.test")
        #expect(id.path == "")
        #expect(id.hasEmptyPath)
        #expect(id.pathSegments.isEmpty)
        #expect(id.string == "spiffe://acme.test")
        #expect(id == id.trustDomain.id)
    }

    @Test("ID-20: dot segments, and what only looks like them")
    func dots() {
        for bad in ["/.", "/..", "/x/./y", "/x/../y", "/x/.", "/x/..", "/../x"] {
            #expect((try? SPIFFEID("spiffe://acme.test" + bad)) == nil, "\(bad)")
        }
        for good in ["/...", "/.x", "/x.", "/x..", "/..x", "/.-", "/a.b"] {
            #expect((try? SPIFFEID("spiffe://acme.test" + good)) != nil, "\(good)")
        }
    }

    @Test("ID-22: equality is byte equality and the path is case-sensitive")
    func equality() throws {
        #expect(
            try SPIFFEID("spiffe://acme.test/Billing") != SPIFFEID("spiffe://acme.test/billing"))
        #expect(
            try SPIFFEID("spiffe://acme.test/x")
                == SPIFFEID(trustDomain: TrustDomain("acme.test"), path: "/x"))
        #expect(try !SPIFFEID("spiffe://acme.test/x").isMember(of: TrustDomain("acme.tes")))
        #expect(try !SPIFFEID("spiffe://acme.test/x").isMember(of: TrustDomain("acme.test2")))
        #expect(try SPIFFEID("spiffe://acme.test/x").isMember(of: TrustDomain("acme.test")))
    }

    @Test("the error names the first rule broken and quotes what was given")
    func errors() {
        let cases: [(String, SPIFFEIDError.Code)] = [
            ("", .empty), ("https://acme.test/x", .scheme), ("spiffe://", .trustDomainMissing),
            ("spiffe:///x", .trustDomainMissing), ("spiffe://Acme.test", .trustDomainCharacter),
            ("spiffe://acme.test/", .trailingSlash), ("spiffe://acme.test//x", .emptySegment),
            ("spiffe://acme.test/../x", .dotSegment), ("spiffe://acme.test/x?", .pathCharacter),
        ]
        for (input, code) in cases {
            do throws(SPIFFEIDError) {
                _ = try SPIFFEID(input)
                Issue.record("accepted \(input)")
            } catch {
                #expect(error.code == code, "\(input)")
            }
        }
        do throws(SPIFFEIDError) {
            _ = try SPIFFEID("spiffe://acme.test/\n" + String(repeating: "é", count: 1000))
        } catch {
            #expect(error.message.utf8.count < 400)
            #expect(!error.message.contains("\n"))
        }
    }
}
