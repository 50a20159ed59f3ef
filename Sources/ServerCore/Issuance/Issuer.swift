import Crypto
package import Foundation
import Logging
package import SPIFFE
import SwiftASN1
package import X509

/// One X509-SVID to issue. The caller is authenticated and the entry resolved already.
package struct X509Issuance: Sendable {
    package let spiffeID: SPIFFEID
    package let publicKey: Certificate.PublicKey
    package var dnsNames: [String] = []
    /// Seconds; 0 means the default. Capped by the authority's own end.
    package var ttl: Int32 = 0
    /// Overrides the usual subject.
    package var subject: DistinguishedName?
    /// For the record: `entry:<id>`, `mint`, `agent`, `server`.
    package let reason: String

    package init(
        spiffeID: SPIFFEID, publicKey: Certificate.PublicKey, dnsNames: [String] = [],
        ttl: Int32 = 0,
        subject: DistinguishedName? = nil, reason: String
    ) {
        self.spiffeID = spiffeID
        self.publicKey = publicKey
        self.dnsNames = dnsNames
        self.ttl = ttl
        self.subject = subject
        self.reason = reason
    }
}

/// An issued X509-SVID, without its key.
package struct IssuedX509SVID: Sendable {
    package let spiffeID: SPIFFEID
    /// DER, leaf first, without the root.
    package let chain: [[UInt8]]
    /// Lower-case hex.
    package let serial: String
    /// Unix seconds.
    package let expiresAt: Int64
}

/// One JWT-SVID to issue.
package struct JWTIssuance: Sendable {
    package let spiffeID: SPIFFEID
    /// As asked for; empty strings are dropped.
    package let audience: [String]
    /// Seconds; 0 means the default. Capped by the authority's own end.
    package var ttl: Int32
    package var includesJTI: Bool
    package let reason: String

    package init(
        spiffeID: SPIFFEID, audience: [String], ttl: Int32 = 0, includesJTI: Bool = false,
        reason: String
    ) {
        self.spiffeID = spiffeID
        self.audience = audience
        self.ttl = ttl
        self.includesJTI = includesJTI
        self.reason = reason
    }
}

package struct IssuedJWTSVID: Sendable {
    package let spiffeID: SPIFFEID
    package let token: String
    /// Unix seconds.
    package let issuedAt: Int64
    package let expiresAt: Int64
}

/// Builds, lints, signs, records and only then releases SVIDs.
///
/// The order is fixed (docs/issuance.md): whatever this type returns has a durable record. If the record
/// cannot be written, nothing is returned and the error says so. A cancelled task gets no signature; what has been
/// signed is recorded all the same.
package struct Issuer: Sendable {
    package struct Settings: Sendable {
        /// Seconds.
        package var defaultX509TTL: Int32
        package var defaultJWTTTL: Int32
        package var defaultWITTTL: Int32
        package var agentTTL: Int32
        /// The `iss` claim of JWT-SVIDs, if any.
        package var jwtIssuer: String?
        /// The `iss` claim of WIT-SVIDs, if any.
        package var witIssuer: String?

        package init(
            defaultX509TTL: Int32 = 3_600, defaultJWTTTL: Int32 = 300, agentTTL: Int32 = 3_600,
            jwtIssuer: String? = nil, defaultWITTTL: Int32 = 3_600, witIssuer: String? = nil
        ) {
            self.defaultX509TTL = defaultX509TTL
            self.defaultJWTTTL = defaultJWTTTL
            self.defaultWITTTL = defaultWITTTL
            self.agentTTL = agentTTL
            self.jwtIssuer = jwtIssuer
            self.witIssuer = witIssuer
        }
    }

    package let settings: Settings
    package let trustDomain: TrustDomain
    private let authorities: AuthorityManager
    private let recorder: any IssuanceRecorder
    private let builder: X509Builder
    private let now: @Sendable () -> Date

    package init(
        trustDomain: TrustDomain, settings: Settings, authorities: AuthorityManager,
        recorder: any IssuanceRecorder, now: @escaping @Sendable () -> Date = { Date() }
    ) throws {
        self.trustDomain = trustDomain
        self.settings = settings
        self.authorities = authorities
        self.recorder = recorder
        self.builder = try X509Builder()
        self.now = now
    }

    /// Issues X509-SVIDs together: signed one after the other, recorded with one append.
    ///
    /// - Returns: one result per issuance, in order. An issuance that is refused does not stop the others.
    /// - Throws: ``ServerError`` `unavailable` when there is no authority or the records cannot be made
    ///   durable; then nothing is released.
    package func issue(
        _ issuances: [X509Issuance], requestedBy: String
    ) async throws -> [Result<IssuedX509SVID, ServerError>] {
        try Task.checkCancellation()
        let authority = try self.authorities.x509Authority()
        let now = Int64(self.now().timeIntervalSince1970)
        var records: [IssuanceRecord] = []
        records.reserveCapacity(issuances.count)
        var results: [Result<IssuedX509SVID, ServerError>] = []
        results.reserveCapacity(issuances.count)
        for issuance in issuances {
            do {
                let (svid, record) = try self.sign(
                    issuance, by: authority, at: now, requestedBy: requestedBy)
                records.append(record)
                results.append(.success(svid))
            } catch {
                results.append(.failure(error))
            }
        }
        if !records.isEmpty { try await self.recorder.append(records) }
        return results
    }

    /// Issues one X509-SVID.
    ///
    /// - Throws: ``ServerError``; nothing was released then.
    package func issue(_ issuance: X509Issuance, requestedBy: String) async throws -> IssuedX509SVID
    {
        guard let result = try await self.issue([issuance], requestedBy: requestedBy).first else {
            throw ServerError(.internal, "issuance gave no result")
        }
        return try result.get()
    }

    /// Issues a JWT-SVID.
    ///
    /// - Throws: ``ServerError`` `invalidArgument` without an audience, `unimplemented` when JWT-SVIDs are
    ///   disabled, `unavailable` when there is no authority or no durable record.
    package func issue(_ issuance: JWTIssuance, requestedBy: String) async throws -> IssuedJWTSVID {
        try Task.checkCancellation()
        let authority = try self.authorities.jwtAuthority()
        try self.lint(issuance.spiffeID)
        let audience = issuance.audience.filter { !$0.isEmpty }
        guard !audience.isEmpty else {
            throw ServerError(
                .invalidArgument, "audience is missing; give at least one non-empty value")
        }
        let now = Int64(self.now().timeIntervalSince1970)
        let ttl = issuance.ttl > 0 ? issuance.ttl : self.settings.defaultJWTTTL
        let expiresAt = min(now + Int64(ttl), authority.notAfter)
        let jti = issuance.includesJTI ? Base64URL.encode(SerialNumbers.random()) : ""
        let claims = JWTClaims(
            subject: issuance.spiffeID.string, audience: audience, issuedAt: now,
            expiresAt: expiresAt,
            issuer: self.settings.jwtIssuer, tokenID: jti)
        let token: String
        do { token = try authority.signer.sign(claims: claims.json) } catch {
            throw ServerError(.internal, "cannot sign JWT-SVID: \(error)")
        }
        try await self.recorder.append([
            IssuanceRecord(
                kind: .jwtSVID, spiffeID: issuance.spiffeID, serial: jti, authorityID: authority.id,
                sha256: Self.sha256(Array(token.utf8)), expiresAt: expiresAt,
                reason: issuance.reason,
                requestedBy: requestedBy)
        ])
        return IssuedJWTSVID(
            spiffeID: issuance.spiffeID, token: token, issuedAt: now, expiresAt: expiresAt)
    }

    /// Whether WIT-SVIDs are issued at all.
    var issuesWITSVIDs: Bool { self.authorities.issuesWITSVIDs }

    /// Issues WIT-SVIDs together: signed one after the other, recorded with one append.
    ///
    /// - Returns: one result per issuance, in order. An issuance that is refused does not stop the others.
    /// - Throws: ``ServerError`` `unimplemented` when WIT-SVIDs are not enabled, `unavailable` when there is no
    ///   authority or the records cannot be made durable; then nothing is released.
    package func issue(
        _ issuances: [WITIssuance], requestedBy: String
    ) async throws -> [Result<IssuedWITSVID, ServerError>] {
        try Task.checkCancellation()
        let authority = try self.authorities.witAuthority()
        let now = Int64(self.now().timeIntervalSince1970)
        var records: [IssuanceRecord] = []
        var results: [Result<IssuedWITSVID, ServerError>] = []
        for issuance in issuances {
            do throws(ServerError) {
                let (svid, record) = try self.sign(
                    issuance, by: authority, at: now, requestedBy: requestedBy)
                records.append(record)
                results.append(.success(svid))
            } catch {
                results.append(.failure(error))
            }
        }
        if !records.isEmpty { try await self.recorder.append(records) }
        return results
    }

    /// Issues one WIT-SVID.
    ///
    /// - Throws: ``ServerError``; nothing was released then.
    package func issue(_ issuance: WITIssuance, requestedBy: String) async throws -> IssuedWITSVID {
        guard let result = try await self.issue([issuance], requestedBy: requestedBy).first else {
            throw ServerError(.internal, "issuance gave no result")
        }
        return try result.get()
    }

    // MARK: Inside

    private func sign(
        _ issuance: WITIssuance, by authority: WITAuthority, at now: Int64, requestedBy: String
    ) throws(ServerError) -> (IssuedWITSVID, IssuanceRecord) {
        try self.lint(issuance.spiffeID)
        let ttl = issuance.ttl > 0 ? issuance.ttl : self.settings.defaultWITTTL
        let expiresAt = min(now + Int64(ttl), authority.notAfter)
        let claims = Self.claims(
            of: issuance, issuedAt: now, expiresAt: expiresAt, issuer: self.settings.witIssuer)
        let token: String
        do throws(JOSEError) { token = try authority.signer.sign(claims: claims) } catch {
            throw ServerError(.internal, "cannot sign WIT-SVID: \(error)")
        }
        let record = IssuanceRecord(
            kind: .witSVID, spiffeID: issuance.spiffeID, serial: "", authorityID: authority.id,
            sha256: Self.sha256(Array(token.utf8)), expiresAt: expiresAt, reason: issuance.reason,
            requestedBy: requestedBy)
        return (
            IssuedWITSVID(
                spiffeID: issuance.spiffeID, token: token, issuedAt: now, expiresAt: expiresAt),
            record
        )
    }

    private func sign(
        _ issuance: X509Issuance, by authority: X509Authority, at now: Int64, requestedBy: String
    ) throws(ServerError) -> (IssuedX509SVID, IssuanceRecord) {
        try self.lint(issuance.spiffeID)
        let ttl = issuance.ttl > 0 ? issuance.ttl : self.settings.defaultX509TTL
        let expiresAt = min(now + Int64(ttl), authority.notAfter)
        let serial = SerialNumbers.random()
        let der: [UInt8]
        do {
            der = try self.builder.sign(
                X509Builder.Leaf(
                    spiffeID: issuance.spiffeID, publicKey: issuance.publicKey,
                    dnsNames: issuance.dnsNames, notBefore: now - 10, notAfter: expiresAt,
                    serial: serial, subject: issuance.subject),
                by: authority)
        } catch {
            throw ServerError(.internal, "cannot sign X509-SVID: \(error)")
        }
        let serialText = hex(serial)
        let record = IssuanceRecord(
            kind: .x509SVID, spiffeID: issuance.spiffeID, serial: serialText,
            authorityID: authority.id, sha256: Self.sha256(der), expiresAt: expiresAt,
            reason: issuance.reason, requestedBy: requestedBy)
        return (
            IssuedX509SVID(
                spiffeID: issuance.spiffeID, chain: [der], serial: serialText, expiresAt: expiresAt),
            record
        )
    }

    /// The last check before a signature: an SVID is only ever made for a path in our own trust domain.
    private func lint(_ id: SPIFFEID) throws(ServerError) {
        guard id.isMember(of: self.trustDomain), !id.hasEmptyPath else {
            throw ServerError(
                .invalidArgument,
                "SPIFFE ID \(quoted(id.string)) rejected: an SVID needs a path in trust domain \(self.trustDomain)"
            )
        }
    }

    private static func sha256(_ bytes: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: bytes)) }
}

/// The claims of a JWT-SVID, in the fixed order in which they are signed.
private struct JWTClaims {
    let subject: String
    let audience: [String]
    let issuedAt: Int64
    let expiresAt: Int64
    let issuer: String?
    let tokenID: String

    var json: [UInt8] {
        var text = "{\"aud\":["
        for (index, value) in self.audience.enumerated() {
            if index > 0 { text += "," }
            Self.append(value, to: &text)
        }
        text += "],\"exp\":\(self.expiresAt),\"iat\":\(self.issuedAt)"
        if let issuer {
            text += ",\"iss\":"
            Self.append(issuer, to: &text)
        }
        if !self.tokenID.isEmpty { text += ",\"jti\":\"\(self.tokenID)\"" }
        text += ",\"sub\":"
        Self.append(self.subject, to: &text)
        text += "}"
        return Array(text.utf8)
    }

    private static func append(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case _ where scalar.value < 0x20:
                let code = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - code.count) + code
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
