import Foundation

/// What a token says when it has the form of a WIT-SVID. Says nothing about signature or time.
struct WITClaims: Sendable {
    let id: SPIFFEID
    let keyID: String
    let confirmationKey: ConfirmationKey
    let expiresAt: Date
    let notBefore: Date?
    let issuedAt: Date?
    let all: [String: JSONValue]
    private let jws: CompactJWS

    /// - Throws: ``WITSVIDError`` with the first rule broken; the algorithm comes before anything else.
    /// - SeeAlso: WIT-SVID §2, §3.
    init(_ token: String) throws(WITSVIDError) {
        let jws: CompactJWS
        do throws(JOSEError) {
            jws = try CompactJWS(token)
        } catch {
            throw WITSVIDError(
                error.code == .unsupportedAlgorithm ? .algorithm : .malformed, error.message)
        }
        self.keyID = try WITClaims.checkedKeyID(jws.header)
        self.jws = jws
        let claims: [String: JSONValue]
        do throws(JOSEError) {
            claims = try jws.claims()
        } catch {
            throw WITSVIDError(.malformed, error.message)
        }
        guard let subject = claims["sub"]?.stringValue else {
            throw WITSVIDError(.subject, "it has no subject; expected a SPIFFE ID in sub")
        }
        do throws(SPIFFEIDError) {
            self.id = try SPIFFEID(subject)
        } catch {
            throw WITSVIDError(.subject, error.message)
        }
        // Whatever its value: a token for somebody is a bearer token (WIT-SVID §3.8).
        guard claims["aud"] == nil else {
            throw WITSVIDError(.audience, "it has an aud; a WIT-SVID has none")
        }
        guard let jwk = claims["cnf"]?["jwk"]?.objectValue else {
            throw WITSVIDError(.confirmation, "it is bound to no key: there is no cnf.jwk")
        }
        do throws(JOSEError) {
            self.confirmationKey = try ConfirmationKey(jwk: jwk)
        } catch {
            throw WITSVIDError(.confirmation, "cnf.jwk: \(error.message)")
        }
        guard let expiresAt = try WITClaims.date("exp", claims) else {
            throw WITSVIDError(.claim, "it has no exp")
        }
        self.expiresAt = expiresAt
        self.notBefore = try WITClaims.date("nbf", claims)
        self.issuedAt = try WITClaims.date("iat", claims)
        self.all = claims
    }

    /// Checks the rules of the header and returns its `kid`.
    private static func checkedKeyID(_ header: [String: JSONValue]) throws(WITSVIDError) -> String {
        guard header["typ"]?.stringValue == "wit+jwt" else {
            throw WITSVIDError(.type, "typ is not wit+jwt")
        }
        if header["crit"] != nil {
            throw WITSVIDError(.criticalHeader, "crit lists header parameters; none is understood")
        }
        guard let keyID = header["kid"]?.stringValue, !keyID.isEmpty else {
            throw WITSVIDError(.keyID, "it has no kid")
        }
        return keyID
    }

    private static func date(_ name: String, _ claims: [String: JSONValue]) throws(WITSVIDError)
        -> Date?
    {
        do throws(JOSEError) {
            return try NumericDate.read(name, claims).map(Date.init(timeIntervalSince1970:))
        } catch {
            throw WITSVIDError(.claim, error.message)
        }
    }

    /// Checks the signature with the WIT authorities of the identity's own trust domain and no others.
    func checkSignature(_ bundles: any WITBundleSource) throws(WITSVIDError) {
        let trustDomain = self.id.trustDomain
        guard let bundle = bundles.witBundle(for: trustDomain), bundle.trustDomain == trustDomain
        else {
            throw WITSVIDError(.noBundle, "there is no WIT bundle of \(trustDomain)")
        }
        guard let key = bundle.authority(keyID: self.keyID) else {
            throw WITSVIDError(
                .unknownKey,
                "\(trustDomain) has no WIT authority with ID \(SPIFFEIDError.quoted(self.keyID))")
        }
        guard self.jws.isSigned(by: key) else {
            throw WITSVIDError(
                .signature, "its signature does not verify with the authority of that ID")
        }
    }

    /// Asks whether the token was taken back.
    func checkRevocation(_ checker: RevocationChecker, _ now: Date) throws(WITSVIDError) {
        let reference: TokenStatusReference?
        do throws(JOSEError) {
            reference = try TokenStatusReference.read(self.all)
        } catch {
            throw WITSVIDError(.claim, error.message)
        }
        switch checker.check(
            signingInputSHA256: self.jws.signingInputSHA256, reference: reference,
            of: self.id.trustDomain, now: now)
        {
        case .clear: return
        case .revoked(let reason): throw WITSVIDError(.revoked, reason)
        case .unknown(let reason): throw WITSVIDError(.revocationUnknown, reason)
        }
    }

    /// Checks `exp`, `nbf` and, when there is a maximum, the lifespan. `iat` never delays the validity.
    func checkTime(
        _ now: Date, leeway: TimeInterval, maximumLifespan: TimeInterval?
    ) throws(WITSVIDError) {
        guard now < self.expiresAt + leeway else {
            throw WITSVIDError(.expired, "it has expired")
        }
        if let notBefore = self.notBefore, now + leeway < notBefore {
            throw WITSVIDError(.notYetValid, "it is not valid yet")
        }
        if let maximumLifespan {
            // Without nbf it lives from iat on, but an iat to come must not make it look shorter.
            let start = self.notBefore ?? min(self.issuedAt ?? now, now)
            guard self.expiresAt.timeIntervalSince(start) <= maximumLifespan else {
                throw WITSVIDError(
                    .lifespan, "it lives longer than the \(Int(maximumLifespan)) s allowed here")
            }
        }
    }
}

extension Duration {
    /// In seconds, as Foundation's dates want it.
    var timeInterval: TimeInterval {
        let (seconds, fraction) = self.components
        return TimeInterval(seconds) + TimeInterval(fraction) / 1e18
    }
}
