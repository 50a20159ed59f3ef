import SPIFFE
import Testing

@Suite("Authorizer")
struct AuthorizerTests {
    private let acme: TrustDomain
    private let web: SPIFFEID
    private let other: SPIFFEID
    private let partner: SPIFFEID

    init() throws {
        self.acme = try TrustDomain("acme.test")
        self.web = try SPIFFEID("spiffe://acme.test/ns/prod/sa/web")
        self.other = try SPIFFEID("spiffe://acme.test/ns/prod/sa/db")
        self.partner = try SPIFFEID("spiffe://partner.test/ns/prod/sa/web")
    }

    private func allowed(_ rule: Authorizer, _ id: SPIFFEID) -> Bool {
        do throws(AuthorizationError) {
            try rule.authorize(id)
            return true
        } catch {
            #expect(error.code == .denied)
            return false
        }
    }

    @Test("exactly, oneOf, member")
    func simple() {
        #expect(self.allowed(.exactly(self.web), self.web))
        #expect(!self.allowed(.exactly(self.web), self.other))
        #expect(self.allowed(.oneOf([self.web, self.partner]), self.partner))
        #expect(!self.allowed(.oneOf([self.web, self.partner]), self.other))
        #expect(!self.allowed(.oneOf([]), self.web))
        #expect(self.allowed(.member(of: self.acme), self.other))
        #expect(!self.allowed(.member(of: self.acme), self.partner))
        #expect(self.allowed(.allowingAnyPeer(in: self.acme), self.web))
        #expect(!self.allowed(.allowingAnyPeer(in: self.acme), self.partner))
        #expect(self.allowed(.allowingAny, self.partner))
    }

    @Test("TRAP-13: anyOf, allOf, not; nothing lets nobody in")
    func combined() {
        #expect(self.allowed(.anyOf([.exactly(self.web), .exactly(self.other)]), self.other))
        #expect(!self.allowed(.anyOf([]), self.web))
        #expect(!self.allowed(.allOf([]), self.web))
        let rule = Authorizer.allOf([.member(of: self.acme), .not(.exactly(self.web))])
        #expect(self.allowed(rule, self.other))
        #expect(!self.allowed(rule, self.web))
        #expect(!self.allowed(rule, self.partner))
    }

    @Test(
        "paths",
        arguments: [
            ("/ns/*/sa/web", true), ("/ns/prod/sa/web", true), ("/*/*/*/*", true), ("/ns/**", true),
            ("/**", true), ("/ns/prod/sa/**", true), ("/ns/prod/sa/web/**", false),
            ("/ns/*/web", false),
            ("/ns/*", false), ("/NS/*/sa/web", false), ("/*/*/*", false), ("/*/*/*/*/*", false),
        ])
    func paths(_ pattern: String, _ want: Bool) throws {
        let rule = try Authorizer.path(pattern, in: self.acme)
        #expect(self.allowed(rule, self.web) == want)
        #expect(!self.allowed(rule, self.partner))
        #expect(!self.allowed(rule, self.acme.id))
    }

    @Test(
        "patterns that could not match are refused",
        arguments: ["", "ns", "/", "/ns/", "//x", "/a*", "/**/x", "/a/../b", "/é", "/a b", "/?"])
    func patterns(_ pattern: String) {
        #expect { try Authorizer.path(pattern, in: self.acme) } throws: {
            ($0 as? AuthorizationError)?.code == .pattern
        }
    }

    @Test("a pattern that is longer than any SPIFFE ID is refused in few words")
    func longPatterns() throws {
        _ = try Authorizer.path(String(repeating: "/*", count: 1_024), in: self.acme)
        let error = #expect(throws: AuthorizationError.self) {
            try Authorizer.path(String(repeating: "/*", count: 1_025), in: self.acme)
        }
        #expect(error?.code == .pattern && error.map { $0.message.utf8.count < 400 } == true)
    }

    @Test("the message says who was refused and who is allowed")
    func message() {
        do throws(AuthorizationError) {
            try Authorizer.exactly(self.web).authorize(self.other)
        } catch {
            #expect(error.message.contains(self.other.string))
            #expect(error.message.contains(self.web.string))
        }
    }
}
