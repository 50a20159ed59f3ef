public import Foundation

/// A JWT-SVID.
///
/// ``validate(_:audience:bundles:now:leeway:revocation:limits:)`` is the way to take one from a peer;
/// ``unverified(_:hint:)`` is for tokens that come from the Workload API.
public struct JWTSVID: Sendable, Equatable {
    /// The most bytes that a token may have.
    public static let maximumLength = 64 * 1024

    /// Who the token speaks for (`sub`).
    public let id: SPIFFEID
    /// Whom it is for (`aud`); never empty.
    public let audience: [String]
    /// When it ends (`exp`), UTC.
    public let expiresAt: Date
    /// When it was issued (`iat`), as the issuer says.
    public let issuedAt: Date?
    /// The token itself. A secret until it expires: never log it.
    public let token: String
    /// The `kid` of the header.
    public let keyID: String?
    /// All claims, known and unknown.
    public let claims: [String: JSONValue]
    /// What the operator says this identity is for; empty when nothing.
    public let hint: String

    /// Checks a token that a peer presented.
    ///
    /// The key is taken from the bundle of the subject's trust domain and from nowhere else; `iss` is not
    /// looked at. A token may be used many times.
    ///
    /// - Parameters:
    ///   - token: What the peer presented.
    ///   - audience: The validator's own name, compared byte by byte. Empty is refused.
    ///   - bundles: Whose tokens are believed.
    ///   - now: The time to validate at, UTC.
    ///   - leeway: How far clocks may differ, for `exp` and `nbf`.
    ///   - revocation: What is done about tokens that were taken back.
    ///   - limits: What partners are trusted with; nil takes the source of the bundles, if it knows.
    /// - Throws: ``JWTSVIDError`` with the first rule broken.
    /// - SeeAlso: JWT-SVID §2–4.
    public static func validate(
        _ token: String, audience: String, bundles: any JWTBundleSource, now: Date = Date(),
        leeway: Duration = .seconds(60), revocation: RevocationPolicy = .standard,
        limits: (any PartnerLimitSource)? = nil
    ) throws(JWTSVIDError) -> JWTSVID {
        guard !audience.isEmpty else {
            throw JWTSVIDError(
                .noExpectedAudience, "the validator has no audience of its own to compare")
        }
        let parsed = try ParsedToken(token)
        let svid = try JWTSVID(parsed, token, hint: "")
        try parsed.checkSignature(of: svid.id, bundles)
        try svid.checkTime(now, leeway)
        guard svid.audience.contains(where: { $0.utf8.elementsEqual(audience.utf8) }) else {
            throw JWTSVIDError(
                .audience,
                "it is for \(SPIFFEIDError.quoted(svid.audience.joined(separator: " "))), not for "
                    + SPIFFEIDError.quoted(audience))
        }
        switch PartnerLimitChecker(limits, bundles: bundles)?.check(svid.id, for: .jwt) {
        case .accepted, nil: break
        case .outside(let reason): throw JWTSVIDError(.outsideLimits, reason)
        case .unknown(let reason): throw JWTSVIDError(.limitsUnknown, reason)
        }
        if let checker = RevocationChecker(revocation, bundles: bundles) {
            try parsed.checkRevocation(of: svid.id.trustDomain, checker, now)
        }
        return svid
    }

    /// Reads a token without checking signature, time or audience. Proves nothing about who sent it.
    ///
    /// - Throws: ``JWTSVIDError`` when it has not the form of a JWT-SVID.
    public static func unverified(_ token: String, hint: String = "") throws(JWTSVIDError)
        -> JWTSVID
    {
        try JWTSVID(try ParsedToken(token), token, hint: hint)
    }

    private init(_ parsed: ParsedToken, _ token: String, hint: String) throws(JWTSVIDError) {
        guard let subject = parsed.claims["sub"]?.stringValue else {
            throw JWTSVIDError(.subject, "it has no subject; expected a SPIFFE ID in sub")
        }
        do {
            self.id = try SPIFFEID(subject)
        } catch {
            throw JWTSVIDError(.subject, error.message)
        }
        self.audience = try JWTSVID.audience(parsed.claims["aud"])
        guard let expiresAt = try JWTSVID.date("exp", parsed.claims) else {
            throw JWTSVIDError(.claim, "it has no exp")
        }
        self.expiresAt = expiresAt
        self.issuedAt = try JWTSVID.date("iat", parsed.claims)
        _ = try JWTSVID.date("nbf", parsed.claims)
        self.token = token
        self.keyID = parsed.keyID
        self.claims = parsed.claims
        self.hint = hint
    }

    private static func audience(_ claim: JSONValue?) throws(JWTSVIDError) -> [String] {
        let audience: [String]
        switch claim {
        case .string(let one): audience = [one]
        case .array(let elements):
            audience = elements.compactMap(\.stringValue)
            guard audience.count == elements.count else {
                throw JWTSVIDError(.claim, "aud has an element that is no string")
            }
        case nil: audience = []
        default: throw JWTSVIDError(.claim, "aud is neither a string nor an array of strings")
        }
        guard audience.contains(where: { !$0.isEmpty }) else {
            throw JWTSVIDError(.noAudience, "it is for nobody: aud is missing or empty")
        }
        return audience
    }

    private static func date(_ name: String, _ claims: [String: JSONValue]) throws(JWTSVIDError)
        -> Date?
    {
        do throws(JOSEError) {
            return try NumericDate.read(name, claims).map(Date.init(timeIntervalSince1970:))
        } catch {
            throw JWTSVIDError(.claim, error.message)
        }
    }

    private func checkTime(_ now: Date, _ leeway: Duration) throws(JWTSVIDError) {
        let (seconds, fraction) = leeway.components
        let slack = TimeInterval(seconds) + TimeInterval(fraction) / 1e18
        guard now < self.expiresAt + slack else {
            throw JWTSVIDError(.expired, "it has expired")
        }
        if let notBefore = try JWTSVID.date("nbf", self.claims), now + slack < notBefore {
            throw JWTSVIDError(.notYetValid, "it is not valid yet")
        }
    }
}

extension JWTSVID: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The identity only, so that a token cannot get into a log by way of a description.
    public var description: String { "JWTSVID(\(self.id))" }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror { Mirror(self, children: ["id": self.id]) }
}

/// A token whose header has been checked and whose signature has not.
private struct ParsedToken {
    let keyID: String?
    let claims: [String: JSONValue]
    private let jws: CompactJWS

    init(_ token: String) throws(JWTSVIDError) {
        let jws: CompactJWS
        do throws(JOSEError) {
            // The algorithm comes before anything else (JWT-SVID §2.1).
            jws = try CompactJWS(token)
        } catch {
            throw JWTSVIDError(
                error.code == .unsupportedAlgorithm ? .algorithm : .malformed, error.message)
        }
        if let type = jws.header["typ"] {
            guard let type = type.stringValue, type == "JWT" || type == "JOSE" else {
                throw JWTSVIDError(.type, "typ is neither JWT nor JOSE")
            }
        }
        if jws.header["crit"] != nil {
            throw JWTSVIDError(.criticalHeader, "crit lists header parameters; none is understood")
        }
        if let keyID = jws.header["kid"], keyID.stringValue == nil {
            throw JWTSVIDError(.malformed, "kid is no string")
        }
        self.keyID = jws.header["kid"]?.stringValue
        self.jws = jws
        do throws(JOSEError) {
            self.claims = try jws.claims()
        } catch {
            throw JWTSVIDError(.malformed, error.message)
        }
    }

    /// Checks the signature with the keys of the identity's own trust domain. Keys or addresses in the
    /// header are never used.
    func checkSignature(of id: SPIFFEID, _ bundles: any JWTBundleSource) throws(JWTSVIDError) {
        let trustDomain = id.trustDomain
        guard let bundle = bundles.jwtBundle(for: trustDomain), bundle.trustDomain == trustDomain
        else {
            throw JWTSVIDError(.noBundle, "there is no JWT bundle of \(trustDomain)")
        }
        let keys: [JWTVerificationKey]
        if let keyID = self.keyID {
            guard let key = bundle.authority(keyID: keyID) else {
                throw JWTSVIDError(
                    .unknownKey, "\(trustDomain) has no key with ID \(SPIFFEIDError.quoted(keyID))")
            }
            keys = [key]
        } else {
            // kid is optional (JWT-SVID §2.2): any key of the trust domain may have signed.
            let algorithm = self.jws.algorithm
            keys = bundle.authorities.values.filter { $0.algorithms.contains(algorithm) }
        }
        guard keys.contains(where: { self.jws.isSigned(by: $0) }) else {
            throw JWTSVIDError(
                .signature, "its signature does not verify with a key of \(trustDomain)")
        }
    }

    /// Asks whether the token was taken back.
    func checkRevocation(
        of trustDomain: TrustDomain, _ checker: RevocationChecker, _ now: Date
    ) throws(JWTSVIDError) {
        let reference: TokenStatusReference?
        do throws(JOSEError) {
            reference = try TokenStatusReference.read(self.claims)
        } catch {
            throw JWTSVIDError(.claim, error.message)
        }
        switch checker.check(
            signingInputSHA256: self.jws.signingInputSHA256, reference: reference,
            of: trustDomain, now: now)
        {
        case .clear: return
        case .revoked(let reason): throw JWTSVIDError(.revoked, reason)
        case .unknown(let reason): throw JWTSVIDError(.revocationUnknown, reason)
        }
    }
}
