import Crypto
import CryptoExtras
import Foundation

/// The private key that a WIT-SVID is bound to: it makes the proofs without which nobody accepts the token.
///
/// It never leaves its workload. Descriptions show the algorithm only.
public struct ProofKey: Sendable {
    private enum Kind: Sendable {
        case p256(P256.Signing.PrivateKey)
        case p384(P384.Signing.PrivateKey)
        case p521(P521.Signing.PrivateKey)
        case rsa(_RSA.Signing.PrivateKey)
    }

    private let kind: Kind
    /// The public half with its algorithm, as it stands in `cnf.jwk`.
    public let confirmationKey: ConfirmationKey

    /// The algorithm of every proof.
    public var algorithm: JWSAlgorithm { self.confirmationKey.algorithm }

    /// Makes a new key for the algorithm; RSA keys have 2048 bits.
    ///
    /// - Throws: ``JOSEError`` `signing` when an RSA key could not be made.
    public init(generatingFor algorithm: JWSAlgorithm) throws(JOSEError) {
        switch algorithm {
        case .es256: try self.init(.p256(P256.Signing.PrivateKey()), algorithm)
        case .es384: try self.init(.p384(P384.Signing.PrivateKey()), algorithm)
        case .es512: try self.init(.p521(P521.Signing.PrivateKey()), algorithm)
        case .rs256, .rs384, .rs512, .ps256, .ps384, .ps512:
            try self.init(.rsa(try ProofKey.makeRSAKey(bits: 2048)), algorithm)
        }
    }

    /// Makes a new RSA key of that length for the algorithm.
    ///
    /// - Throws: ``JOSEError`` `unsupportedAlgorithm` for ECDSA, `keySize`, or `signing` when the key could
    ///   not be made.
    package init(
        generatingRSAKeyOf bits: Int, for algorithm: JWSAlgorithm
    ) throws(JOSEError) {
        try self.init(.rsa(try ProofKey.makeRSAKey(bits: bits)), algorithm)
    }

    /// Reads a private JWK as the Workload API carries it (`wit_svid_key`).
    ///
    /// - Parameters:
    ///   - jwk: A JSON object with `kty`, the public members and, for EC, `d`; for RSA `d`, `p` and `q`.
    ///   - algorithm: What proofs are made with when the JWK has no `alg`.
    /// - Throws: ``JOSEError``; `malformedKey` also when private and public members are not of one key.
    public init(jwk: String, algorithm: JWSAlgorithm? = nil) throws(JOSEError) {
        guard let members = try JSONValue(parsing: jwk).objectValue else {
            throw JOSEError(.malformedKey, "JWK is no JSON object")
        }
        var publicMembers = members.filter { ProofKey.publicMembers.contains($0.key) }
        if publicMembers["alg"] == nil, let algorithm {
            publicMembers["alg"] = .string(algorithm.rawValue)
        }
        let confirmationKey = try ConfirmationKey(jwk: publicMembers)
        let exponent = try ProofKey.bytes("d", members)
        let kind: Kind
        do {
            switch confirmationKey.publicKey.kind {
            case .p256:
                kind = .p256(try P256.Signing.PrivateKey(rawRepresentation: exponent))
            case .p384:
                kind = .p384(try P384.Signing.PrivateKey(rawRepresentation: exponent))
            case .p521:
                kind = .p521(try P521.Signing.PrivateKey(rawRepresentation: exponent))
            case .rsa:
                kind = .rsa(
                    try _RSA.Signing.PrivateKey(
                        n: try ProofKey.bytes("n", members), e: try ProofKey.bytes("e", members),
                        d: exponent, p: try ProofKey.bytes("p", members),
                        q: try ProofKey.bytes("q", members)))
            }
        } catch let error as JOSEError {
            throw error
        } catch {
            throw JOSEError(.malformedKey, "the private members of the JWK form no key")
        }
        self.kind = kind
        self.confirmationKey = confirmationKey
        guard try ProofKey.publicKey(kind) == confirmationKey.publicKey else {
            throw JOSEError(
                .malformedKey, "the private and the public members of the JWK are of two keys")
        }
    }

    private init(_ kind: Kind, _ algorithm: JWSAlgorithm) throws(JOSEError) {
        self.kind = kind
        self.confirmationKey = try ConfirmationKey(
            publicKey: try ProofKey.publicKey(kind), algorithm: algorithm)
    }

    /// The private JWK as JSON text, for `wit_svid_key` of the Workload API. A secret: never log it.
    ///
    /// - Throws: ``JOSEError`` `malformedKey` when the key does not show its numbers.
    public func privateJWK() throws(JOSEError) -> String {
        var members = self.confirmationKey.jwk
        switch self.kind {
        case .p256(let key):
            members["d"] = ProofKey.number(Array(key.rawRepresentation), width: 32)
        case .p384(let key):
            members["d"] = ProofKey.number(Array(key.rawRepresentation), width: 48)
        case .p521(let key):
            members["d"] = ProofKey.number(Array(key.rawRepresentation), width: 66)
        case .rsa(let key):
            let numbers = try ProofKey.rsaNumbers(Array(key.derRepresentation))
            for (name, number) in zip(["d", "p", "q", "dp", "dq", "qi"], numbers) {
                members[name] = ProofKey.number(number, width: 0)
            }
        }
        return String(decoding: JSONValue.object(members).serialized(), as: UTF8.self)
    }

    /// Signs with the key's one algorithm, in the form that JWS has it.
    ///
    /// - Throws: ``JOSEError`` `signing`.
    func sign(_ bytes: [UInt8]) throws(JOSEError) -> [UInt8] {
        do {
            switch self.kind {
            case .p256(let key): return Array(try key.signature(for: bytes).rawRepresentation)
            case .p384(let key): return Array(try key.signature(for: bytes).rawRepresentation)
            case .p521(let key): return Array(try key.signature(for: bytes).rawRepresentation)
            case .rsa(let key): return try ProofKey.sign(bytes, key, self.algorithm)
            }
        } catch {
            throw JOSEError(.signing, "the proof key could not sign: \(error)")
        }
    }

    // MARK: Inside

    private static let publicMembers: Set<String> = ["kty", "alg", "crv", "x", "y", "n", "e"]

    private static func makeRSAKey(bits: Int) throws(JOSEError) -> _RSA.Signing.PrivateKey {
        guard (2048...8192).contains(bits) else {
            throw JOSEError(.keySize, "RSA key of \(bits) bits; allowed are 2048 to 8192")
        }
        do {
            return try _RSA.Signing.PrivateKey(keySize: .init(bitCount: bits))
        } catch {
            throw JOSEError(.signing, "an RSA key could not be made: \(error)")
        }
    }

    private static func publicKey(_ kind: Kind) throws(JOSEError) -> JWTVerificationKey {
        switch kind {
        case .p256(let key): return JWTVerificationKey(.p256(key.publicKey))
        case .p384(let key): return JWTVerificationKey(.p384(key.publicKey))
        case .p521(let key): return JWTVerificationKey(.p521(key.publicKey))
        case .rsa(let key): return try JWTVerificationKey(rsa: key.publicKey)
        }
    }

    private static func sign(
        _ bytes: [UInt8], _ key: _RSA.Signing.PrivateKey, _ algorithm: JWSAlgorithm
    ) throws -> [UInt8] {
        let signature =
            switch algorithm {
            case .rs384: try key.signature(for: SHA384.hash(data: bytes), padding: pkcs1)
            case .rs512: try key.signature(for: SHA512.hash(data: bytes), padding: pkcs1)
            case .ps256: try key.signature(for: SHA256.hash(data: bytes), padding: .PSS)
            case .ps384: try key.signature(for: SHA384.hash(data: bytes), padding: .PSS)
            case .ps512: try key.signature(for: SHA512.hash(data: bytes), padding: .PSS)
            default: try key.signature(for: SHA256.hash(data: bytes), padding: pkcs1)
            }
        return Array(signature.rawRepresentation)
    }

    /// The name warns of encryption; for signatures it is what `RS256` means.
    private static let pkcs1 = _RSA.Signing.Padding.insecurePKCS1v1_5

    /// `d`, `p`, `q`, `dp`, `dq` and `qi` of an RSAPrivateKey (RFC 8017 appendix A.1.2).
    private static func rsaNumbers(_ der: [UInt8]) throws(JOSEError) -> [[UInt8]] {
        var numbers: [[UInt8]] = []
        if let sequence = DERElement(der[...]), sequence.tag == 0x30, sequence.rest.isEmpty {
            var rest = sequence.content
            while let element = DERElement(rest), element.tag == 0x02 {
                numbers.append(Array(element.content))
                rest = element.rest
            }
        }
        // Version, modulus and public exponent come first.
        guard numbers.count == 9 else {
            throw JOSEError(.malformedKey, "the RSA key does not show its numbers")
        }
        return Array(numbers[3...])
    }

    /// A number of a JWK: at full width for curves (RFC 7518 §6.2.2.1), without leading zeros for RSA.
    private static func number(_ bytes: [UInt8], width: Int) -> JSONValue {
        let digits = Array(bytes.drop { $0 == 0 })
        let padding = [UInt8](repeating: 0, count: max(0, width - digits.count))
        return .string(Base64URL.encode(padding + digits))
    }

    private static func bytes(
        _ name: String, _ members: [String: JSONValue]
    ) throws(JOSEError) -> [UInt8] {
        guard let text = members[name]?.stringValue else {
            throw JOSEError(.malformedKey, "JWK has no \(name); expected a private key")
        }
        let bytes = try Base64URL.decode(text)
        guard bytes.count <= 1024 else {
            throw JOSEError(.keySize, "JWK has a number of more than 8192 bits")
        }
        return bytes
    }
}

extension ProofKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The algorithm only, so that a key cannot get into a log by way of a description.
    public var description: String { "ProofKey(\(self.algorithm.rawValue))" }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror { Mirror(self, children: ["algorithm": self.algorithm]) }
}
