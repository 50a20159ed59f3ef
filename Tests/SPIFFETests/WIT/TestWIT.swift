import Foundation
import SPIFFE

/// A WIT-SVID to be, with good values everywhere.
struct TestWIT {
    var header: [String: JSONValue] = ["alg": "ES256", "kid": "w1", "typ": "wit+jwt"]
    var claims: [String: JSONValue]
    /// Written in place of the claims when set.
    var rawPayload: [UInt8]?

    init(boundTo key: ConfirmationKey, now: Date = Date()) {
        let seconds = Int64(now.timeIntervalSince1970)
        self.claims = [
            "sub": "spiffe://acme.test/x", "exp": .int(seconds + 3600), "iat": .int(seconds),
            "cnf": ["jwk": .object(key.jwk)],
        ]
    }

    /// Changes one member of `cnf.jwk`.
    mutating func setKeyMember(_ name: String, _ value: JSONValue?) {
        var jwk = self.claims["cnf"]?["jwk"]?.objectValue ?? [:]
        jwk[name] = value
        self.claims["cnf"] = ["jwk": .object(jwk)]
    }

    func signed(by key: TestTokenKey) throws -> String {
        var token = TestToken()
        token.header = self.header
        token.claims = self.claims
        token.rawPayload = self.rawPayload
        return try token.signed(by: key)
    }
}
