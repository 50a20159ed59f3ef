import Crypto
import Foundation
import SPIFFE
import SPIFFETesting

/// Validation of an ES256 JWT-SVID, from its text to an identity, against the check of its signature alone.
enum JWTBenchmark {
    static func run() throws -> [Figure] {
        let authority = try TestAuthority("example.org")
        let token = try authority.jwtSVID("/ns/production/sa/orders", audience: ["reports"]).token
        let bundle = authority.jwtBundle
        let now = Date()
        guard let key = bundle.authorities.values.first else {
            throw BenchmarkError(description: "the bundle has no key")
        }
        let check = try SignatureCheck(of: token, key: key)
        let times = try Measurement.fastest(
            runs: 100,
            [
                {
                    keep(
                        try JWTSVID.validate(
                            token, audience: "reports", bundles: bundle, now: now))
                }, { try check.run() },
            ])
        return [
            Figure(
                benchmark: "jwt", label: "ES256", value: times[0] / times[1], unit: "×", must: 1.3,
                aim: 1.15,
                note: "\(microseconds(times[0])) µs, its signature check \(microseconds(times[1])) "
                    + "µs; token of \(token.utf8.count) bytes")
        ]
    }
}

/// The check of a P-256 signature over a token and nothing else: hash, numbers of the signature, arithmetic.
struct SignatureCheck {
    private let input: [UInt8]
    private let signature: [UInt8]
    private let key: P256.Signing.PublicKey

    init(of token: String, key: JWTVerificationKey) throws {
        guard let dot = token.lastIndex(of: ".") else {
            throw BenchmarkError(description: "the token is none")
        }
        self.input = Array(token[..<dot].utf8)
        self.signature = try Base64URL.decode(token[token.index(after: dot)...])
        self.key = try P256.Signing.PublicKey(derRepresentation: key.publicKeyDER)
    }

    func run() throws {
        let signature = try P256.Signing.ECDSASignature(rawRepresentation: self.signature)
        guard self.key.isValidSignature(signature, for: SHA256.hash(data: self.input)) else {
            throw BenchmarkError(description: "the signature does not verify")
        }
    }
}
