import Foundation

/// The workload proof token: a short-lived JWT that the key of a WIT-SVID has signed for one recipient
/// (draft-ietf-wimse-wpt-01 §2).
enum WorkloadProofToken {
    static let field = "workload-proof-token"

    /// Makes the token for a request.
    static func make(
        for request: ProofRequest, audience: String, svid: WITSVID, expiresAt: Date,
        otherTokenFields: [String]
    ) throws(WorkloadProofError) -> String {
        var claims: [String: JSONValue] = [
            "aud": .string(audience),
            "exp": .int(Int64(expiresAt.timeIntervalSince1970)),
            "jti": .string(ProofHash.identifier()),
            "wth": .string(ProofHash.of(svid.token)),
        ]
        if let token = try request.accessToken() { claims["ath"] = .string(ProofHash.of(token)) }
        if let token = try request.onlyValue(of: "txn-token") {
            claims["tth"] = .string(ProofHash.of(token))
        }
        var others: [String: JSONValue] = [:]
        for name in otherTokenFields {
            if let token = try request.onlyValue(of: name) {
                others[name] = .string(ProofHash.of(token))
            }
        }
        if !others.isEmpty { claims["oth"] = .object(others) }
        let header: JSONValue = .object([
            "alg": .string(svid.proofKey.algorithm.rawValue), "typ": "wpt+jwt",
        ])
        let input =
            Base64URL.encode(header.serialized()) + "."
            + Base64URL.encode(JSONValue.object(claims).serialized())
        do throws(JOSEError) {
            let signature = try svid.proofKey.sign(Array(input.utf8))
            return input + "." + Base64URL.encode(signature)
        } catch {
            throw WorkloadProofError(.signing, error.message)
        }
    }

    /// Checks the token of a request against the WIT-SVID of the same request.
    ///
    /// - Returns: what to remember against a second use.
    static func verify(
        _ proof: String, of svid: UnprovenWITSVID, token: String, in request: ProofRequest,
        by verifier: WorkloadProofVerifier, now: Date
    ) throws(WorkloadProofError) -> ProofUse {
        let jws: CompactJWS
        do throws(JOSEError) {
            jws = try CompactJWS(proof)
        } catch {
            throw WorkloadProofError(
                error.code == .unsupportedAlgorithm ? .algorithm : .malformed, error.message)
        }
        guard jws.header["typ"]?.stringValue == "wpt+jwt" else {
            throw WorkloadProofError(.type, "typ is not wpt+jwt")
        }
        guard jws.header["crit"] == nil else {
            throw WorkloadProofError(
                .criticalHeader, "crit lists header parameters; none is understood")
        }
        guard jws.algorithm == svid.confirmationKey.algorithm else {
            throw WorkloadProofError(
                .algorithm,
                "alg \(jws.algorithm.rawValue) is not \(svid.confirmationKey.algorithm.rawValue), that of cnf.jwk"
            )
        }
        guard jws.isSigned(by: svid.confirmationKey.publicKey) else {
            throw WorkloadProofError(
                .signature, "it was not signed by the key that the WIT-SVID is bound to")
        }
        let claims: [String: JSONValue]
        do throws(JOSEError) {
            claims = try jws.claims()
        } catch {
            throw WorkloadProofError(.malformed, error.message)
        }
        let expiresAt = try self.checkTime(claims, by: verifier, now)
        try self.checkAudience(claims["aud"], in: request, by: verifier)
        guard claims["wth"]?.stringValue == ProofHash.of(token) else {
            throw WorkloadProofError(.binding, "wth is not the hash of the WIT-SVID beside it")
        }
        try self.checkOtherTokens(claims, in: request, by: verifier)
        guard let identifier = claims["jti"]?.stringValue, !identifier.isEmpty,
            identifier.utf8.count <= ProofHash.maximumIdentifierLength
        else {
            throw WorkloadProofError(
                .identifier,
                "jti is missing or longer than \(ProofHash.maximumIdentifierLength) bytes")
        }
        return ProofUse(
            sender: svid.claimedID, identifier: "jti:" + identifier,
            expiresAt: expiresAt + verifier.slack)
    }

    private static func checkTime(
        _ claims: [String: JSONValue], by verifier: WorkloadProofVerifier, _ now: Date
    ) throws(WorkloadProofError) -> Date {
        let end: Double?
        let start: Double?
        do throws(JOSEError) {
            end = try NumericDate.read("exp", claims)
            start = try NumericDate.read("nbf", claims)
        } catch {
            throw WorkloadProofError(.malformed, error.message)
        }
        guard let end else { throw WorkloadProofError(.lifetime, "it has no exp") }
        let expiresAt = Date(timeIntervalSince1970: end)
        guard now < expiresAt + verifier.slack else {
            throw WorkloadProofError(.expired, "it has expired")
        }
        if let start, now + verifier.slack < Date(timeIntervalSince1970: start) {
            throw WorkloadProofError(.notYetValid, "it is not valid yet")
        }
        guard expiresAt <= now + verifier.maximumLifetime.timeInterval + verifier.slack else {
            throw WorkloadProofError(
                .lifetime,
                "it would live on for more than \(Int(verifier.maximumLifetime.timeInterval)) s")
        }
        return expiresAt
    }

    /// One audience, or a list of one: a proof for several recipients could be passed on by the first.
    private static func checkAudience(
        _ claim: JSONValue?, in request: ProofRequest, by verifier: WorkloadProofVerifier
    ) throws(WorkloadProofError) {
        let audience: String?
        switch claim {
        case .string(let one): audience = one
        case .array(let list) where list.count == 1: audience = list[0].stringValue
        default: audience = nil
        }
        guard let audience else {
            throw WorkloadProofError(.audience, "aud is not exactly one audience")
        }
        guard verifier.audience.accepts(audience, for: request) else {
            throw WorkloadProofError(
                .audience, "it is for \(SPIFFEIDError.quoted(audience)), not for this recipient")
        }
    }

    /// Every other token of the request is named, and every token that is named is there.
    private static func checkOtherTokens(
        _ claims: [String: JSONValue], in request: ProofRequest, by verifier: WorkloadProofVerifier
    ) throws(WorkloadProofError) {
        try self.compare("ath", claims["ath"], with: try request.accessToken())
        try self.compare("tth", claims["tth"], with: try request.onlyValue(of: "txn-token"))
        let others: [String: JSONValue]
        switch claims["oth"] {
        case nil: others = [:]
        case .object(let members): others = members
        default: throw WorkloadProofError(.malformed, "oth is no JSON object")
        }
        for name in others.keys.sorted() where !verifier.otherTokenFields.contains(name) {
            throw WorkloadProofError(
                .binding, "oth has \(SPIFFEIDError.quoted(name)), which is not known here")
        }
        for name in verifier.otherTokenFields.sorted() {
            try self.compare("oth.\(name)", others[name], with: try request.onlyValue(of: name))
        }
    }

    private static func compare(
        _ name: String, _ claim: JSONValue?, with token: String?
    ) throws(WorkloadProofError) {
        switch (claim, token) {
        case (nil, nil): return
        case (.string(let hash)?, let token?) where hash == ProofHash.of(token): return
        case (nil, _):
            throw WorkloadProofError(
                .binding, "\(name) is missing although the request has such a token")
        case (_, nil):
            throw WorkloadProofError(.binding, "\(name) names a token that the request has not")
        default:
            throw WorkloadProofError(
                .binding, "\(name) is not the hash of the token in the request")
        }
    }
}
