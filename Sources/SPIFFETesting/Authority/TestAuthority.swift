public import Foundation
import NIOConcurrencyHelpers
public import SPIFFE
import SwiftASN1
import X509

/// An authority of one trust domain that lives in the test: issues X509-SVIDs, JWT-SVIDs and WIT-SVIDs that
/// verify against its bundles, and rotates when told to.
///
/// What it issues is real: the same bytes would pass any validator that has its bundle. Two authorities of one
/// name are two authorities, as an impostor's would be.
///
/// ```swift
/// let authority = try TestAuthority("example.org")
/// let web = try authority.x509SVID("/web")
/// let verifier = X509SVIDVerifier(bundles: try authority.x509Bundle)
/// ```
public final class TestAuthority: Sendable {
    private struct State {
        var active: Generation
        var old: [Generation] = []
        var sequence: UInt64 = 1
    }

    /// The trust domain whose SVIDs it issues.
    public let trustDomain: TrustDomain

    private let keyType: TestKeyType
    private let jwtKeyType: TestKeyType
    private let permittedURIDomains: [String]
    private let state: NIOLockedValueBox<State>
    /// What was taken back; see ``revoke(_:reason:)``.
    let revocations = NIOLockedValueBox(TestRevocations())

    /// Makes an authority with new keys.
    ///
    /// - Parameters:
    ///   - name: The trust domain, such as `example.org`.
    ///   - keyType: The key that signs X509-SVIDs.
    ///   - jwtKeyType: The key that signs JWT-SVIDs; not Ed25519, for which JWT-SVID has no algorithm.
    ///   - permittedURIDomains: Name constraints of its certificate; none when empty.
    /// - Throws: `SPIFFEIDError` when the name is none of a trust domain, `JOSEError` for Ed25519.
    public init(
        _ name: String, keyType: TestKeyType = .ecP256, jwtKeyType: TestKeyType = .ecP256,
        permittedURIDomains: [String] = []
    ) throws {
        let trustDomain = try TrustDomain(name)
        self.trustDomain = trustDomain
        self.keyType = keyType
        self.jwtKeyType = jwtKeyType
        self.permittedURIDomains = permittedURIDomains
        self.state = NIOLockedValueBox(
            State(
                active: try Generation(
                    1, trustDomain, keyType, jwtKeyType, permittedURIDomains: permittedURIDomains)))
    }

    // MARK: Bundles

    /// The X.509 authorities that are to be trusted now: the active one first, then older ones.
    public var x509Bundle: X509Bundle {
        get throws {
            try X509Bundle(
                trustDomain: self.trustDomain,
                authoritiesDER: self.generations().map(\.certificateDER))
        }
    }

    /// The JWT authorities that are to be trusted now.
    public var jwtBundle: JWTBundle {
        let keys = self.generations().map { ($0.signer.keyID, $0.signer.publicKey) }
        return JWTBundle(
            trustDomain: self.trustDomain, authorities: Dictionary(keys) { first, _ in first })
    }

    /// The WIT authorities that are to be trusted now: ECDSA on P-256. Incubating.
    public var witBundle: WITBundle {
        let keys = self.generations().map { ($0.witSigner.keyID, $0.witSigner.publicKey) }
        return WITBundle(
            trustDomain: self.trustDomain, authorities: Dictionary(keys) { first, _ in first })
    }

    /// The X.509 and JWT authorities as one document; its sequence number grows with each rotation.
    public var bundle: SPIFFEBundle {
        get throws {
            let generations = self.generations()
            return try SPIFFEBundle(
                trustDomain: self.trustDomain,
                x509Authorities: generations.map(\.certificateDER),
                jwtAuthorities: generations.map {
                    JWTAuthorityKey(
                        keyID: $0.signer.keyID, publicKeyDER: $0.signer.publicKey.publicKeyDER)
                },
                refreshHint: .seconds(60),
                sequenceNumber: self.state.withLockedValue { $0.sequence })
        }
    }

    /// Makes new keys, which sign from now on. The old ones stay in the bundles, so that what they signed
    /// is still believed, until ``dropOldAuthorities()``.
    public func rotate() throws {
        try self.state.withLockedValue { state in
            let next = try Generation(
                state.active.number + 1, self.trustDomain, self.keyType, self.jwtKeyType,
                permittedURIDomains: self.permittedURIDomains)
            state.old.insert(state.active, at: 0)
            state.active = next
            state.sequence += 1
        }
    }

    /// Takes the keys before the active ones out of the bundles: what they signed is believed no more.
    public func dropOldAuthorities() {
        self.state.withLockedValue { state in
            state.old = []
            state.sequence += 1
        }
    }

    private func generations() -> [Generation] {
        self.state.withLockedValue { [$0.active] + $0.old }
    }

    var activeIssuer: TestIssuer { self.state.withLockedValue { $0.active.issuer } }
    var statusListSigner: JWSSigner { self.state.withLockedValue { $0.active.statusListSigner } }

    // MARK: Issuing

    /// The SPIFFE ID with this path.
    ///
    /// - Throws: `SPIFFEIDError`.
    public func id(_ path: String) throws -> SPIFFEID {
        try SPIFFEID(trustDomain: self.trustDomain, path: path)
    }

    /// Issues an X509-SVID with a new key.
    ///
    /// - Parameters:
    ///   - path: The path of the SPIFFE ID, such as `/web`.
    ///   - keyType: The kind of its key.
    ///   - notBefore: The beginning of its validity; nil is a minute ago.
    ///   - notAfter: The end of its validity; nil is in an hour. A time in the past makes one that has expired.
    ///   - dnsNames: Names for peers that compare host names.
    ///   - intermediates: How many signing certificates stand between it and the root; they are in its chain.
    ///   - hint: What an operator would say the identity is for.
    /// - Throws: `SPIFFEIDError` for the path.
    public func x509SVID(
        _ path: String, keyType: TestKeyType = .ecP256, notBefore: Date? = nil,
        notAfter: Date? = nil, dnsNames: [String] = [], intermediates: Int = 0, hint: String = ""
    ) throws -> X509SVID {
        var issuer = self.state.withLockedValue { $0.active.issuer }
        var chain: [[UInt8]] = []
        for number in 0..<max(0, intermediates) {
            let (certificate, next) = try issuer.intermediate("intermediate \(number + 1)")
            chain.insert(certificate, at: 0)
            issuer = next
        }
        let (key, pkcs8) = try keyType.makeKey()
        let leaf = try issuer.leaf(
            try self.id(path), key.publicKey, notBefore: notBefore ?? Date() - 60,
            notAfter: notAfter ?? Date() + 3600, dnsNames: dnsNames)
        return try X509SVID(
            certificates: [leaf] + chain, privateKeyPKCS8DER: pkcs8, hint: hint)
    }

    /// Issues a JWT-SVID.
    ///
    /// - Parameters:
    ///   - path: The path of the subject's SPIFFE ID.
    ///   - audience: Whom it is for.
    ///   - issuedAt: `iat`; nil is now. Whole seconds count.
    ///   - expiresAt: `exp`; nil is in five minutes. A time in the past makes one that has expired.
    ///   - claims: More claims; they take the place of the usual ones of the same name.
    ///   - hint: What an operator would say the identity is for.
    /// - Throws: `SPIFFEIDError` for the path, `JWTSVIDError` when the claims make no JWT-SVID.
    public func jwtSVID(
        _ path: String, audience: [String], issuedAt: Date? = nil, expiresAt: Date? = nil,
        claims: [String: JSONValue] = [:], hint: String = ""
    ) throws -> JWTSVID {
        let now = Date()
        var all: [String: JSONValue] = [
            "sub": .string(try self.id(path).string),
            "aud": .array(audience.map(JSONValue.string)),
            "iat": .int(Int64((issuedAt ?? now).timeIntervalSince1970)),
            "exp": .int(Int64((expiresAt ?? now + 300).timeIntervalSince1970)),
        ]
        all.merge(claims) { _, given in given }
        let signer = self.state.withLockedValue { $0.active.signer }
        return try JWTSVID.unverified(
            try signer.sign(claims: JSONValue.object(all).serialized()), hint: hint)
    }

    /// Issues a WIT-SVID, bound to a new key. Incubating.
    ///
    /// - Parameters:
    ///   - path: The path of the subject's SPIFFE ID.
    ///   - algorithm: Of the key that it is bound to.
    ///   - issuedAt: `iat`; nil is now. Whole seconds count.
    ///   - expiresAt: `exp`; nil is in an hour. A time in the past makes one that has expired.
    ///   - claims: More claims; they take the place of the usual ones of the same name.
    ///   - hint: What an operator would say the identity is for.
    /// - Throws: `SPIFFEIDError` for the path, `WITSVIDError` when the claims make no WIT-SVID.
    public func witSVID(
        _ path: String, algorithm: JWSAlgorithm = .es256, issuedAt: Date? = nil,
        expiresAt: Date? = nil, claims: [String: JSONValue] = [:], hint: String = ""
    ) throws -> WITSVID {
        let now = Date()
        let key = try ProofKey(generatingFor: algorithm)
        var all: [String: JSONValue] = [
            "sub": .string(try self.id(path).string),
            "cnf": ["jwk": .object(key.confirmationKey.jwk)],
            "iat": .int(Int64((issuedAt ?? now).timeIntervalSince1970)),
            "exp": .int(Int64((expiresAt ?? now + 3600).timeIntervalSince1970)),
        ]
        all.merge(claims) { _, given in given }
        let signer = self.state.withLockedValue { $0.active.witSigner }
        return try WITSVID(
            token: try signer.sign(claims: JSONValue.object(all).serialized()), proofKey: key,
            hint: hint)
    }
}

/// The keys of an authority between two rotations.
struct Generation: Sendable {
    let number: Int
    let issuer: TestIssuer
    let certificateDER: [UInt8]
    let signer: JWSSigner
    let witSigner: JWSSigner
    let statusListSigner: JWSSigner

    init(
        _ number: Int, _ trustDomain: TrustDomain, _ keyType: TestKeyType,
        _ jwtKeyType: TestKeyType, permittedURIDomains: [String]
    ) throws {
        self.number = number
        (self.certificateDER, self.issuer) = try TestIssuer.root(
            "authority \(number) of \(trustDomain)", trustDomain, try keyType.makeKey().key,
            permittedURIDomains: permittedURIDomains)
        let jwtKey = try jwtKeyType.makeKey().key
        self.signer = try JWSSigner(privateKey: jwtKey, keyID: "key-\(number)")
        self.statusListSigner = try JWSSigner(
            privateKey: jwtKey, keyID: "key-\(number)", type: "statuslist+jwt")
        self.witSigner = try JWSSigner(
            privateKey: try TestKeyType.ecP256.makeKey().key, keyID: "wit-\(number)",
            type: "wit+jwt")
    }
}
