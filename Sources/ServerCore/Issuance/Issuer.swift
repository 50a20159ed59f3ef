import Crypto
package import Foundation
package import SPIFFE
import Transparency
import X509

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
    let recorder: any EventRecorder
    let refusals = RefusalBudget()
    private let admission: any IssuanceAdmission
    private let builder: X509Builder
    private let now: @Sendable () -> Date

    /// - Parameter admission: Is asked before each signature and before each release.
    package init(
        trustDomain: TrustDomain, settings: Settings, authorities: AuthorityManager,
        recorder: any EventRecorder, admission: any IssuanceAdmission = OpenAdmission(),
        now: @escaping @Sendable () -> Date = { Date() }
    ) throws {
        self.trustDomain = trustDomain
        self.settings = settings
        self.authorities = authorities
        self.recorder = recorder
        self.admission = admission
        self.builder = try X509Builder()
        self.now = now
    }

    /// Issues X509-SVIDs together: signed one after the other, recorded with one append.
    ///
    /// - Returns: one result per issuance, in order. An issuance that is refused does not stop the others.
    /// - Throws: ``ServerError`` `unavailable` when there is no authority or the leaves cannot be made
    ///   durable; then nothing is released.
    package func issue(
        _ issuances: [X509Issuance], requestedBy: String
    ) async throws -> [Result<IssuedX509SVID, ServerError>] {
        try Task.checkCancellation()
        let authority = try self.authorities.x509Authority()
        let now = Int64(self.now().timeIntervalSince1970)
        return try await self.release(
            issuances.map { issuance in
                self.signed(.x509, issuance.spiffeID, issuance.origin, requestedBy) {
                    () throws(ServerError) in
                    try self.sign(issuance, by: authority, at: now, requestedBy: requestedBy)
                }
            })
    }

    /// Issues one X509-SVID.
    ///
    /// - Throws: ``ServerError``; nothing was released then.
    package func issue(_ issuance: X509Issuance, requestedBy: String) async throws -> IssuedX509SVID
    {
        try await Self.only(self.issue([issuance], requestedBy: requestedBy))
    }

    /// Issues a JWT-SVID.
    ///
    /// - Throws: ``ServerError`` `invalidArgument` without an audience, `failedPrecondition` when a revocation covers it,
    ///   `unimplemented` when JWT-SVIDs are disabled, `unavailable` when there is no authority or no durable leaf.
    package func issue(_ issuance: JWTIssuance, requestedBy: String) async throws -> IssuedJWTSVID {
        try Task.checkCancellation()
        let authority = try self.authorities.jwtAuthority()
        let now = Int64(self.now().timeIntervalSince1970)
        return try await Self.only(
            self.release([
                self.signed(.jwt, issuance.spiffeID, issuance.origin, requestedBy) {
                    () throws(ServerError) in
                    try self.sign(issuance, by: authority, at: now, requestedBy: requestedBy)
                }
            ]))
    }

    /// Whether WIT-SVIDs are issued at all.
    var issuesWITSVIDs: Bool { self.authorities.issuesWITSVIDs }

    /// Issues WIT-SVIDs together: signed one after the other, recorded with one append.
    ///
    /// - Returns: one result per issuance, in order. An issuance that is refused does not stop the others.
    /// - Throws: ``ServerError`` `unimplemented` when WIT-SVIDs are not enabled, `unavailable` when there is no
    ///   authority or the leaves cannot be made durable; then nothing is released.
    package func issue(
        _ issuances: [WITIssuance], requestedBy: String
    ) async throws -> [Result<IssuedWITSVID, ServerError>] {
        try Task.checkCancellation()
        let authority = try self.authorities.witAuthority()
        let now = Int64(self.now().timeIntervalSince1970)
        return try await self.release(
            issuances.map { issuance in
                self.signed(.wit, issuance.spiffeID, issuance.origin, requestedBy) {
                    () throws(ServerError) in
                    try self.sign(issuance, by: authority, at: now, requestedBy: requestedBy)
                }
            })
    }

    /// Issues one WIT-SVID.
    ///
    /// - Throws: ``ServerError``; nothing was released then.
    package func issue(_ issuance: WITIssuance, requestedBy: String) async throws -> IssuedWITSVID {
        try await Self.only(self.issue([issuance], requestedBy: requestedBy))
    }

    // MARK: Inside

    /// An SVID that nobody has seen, and what stands in the ledger of it.
    private struct Signed<SVID: Sendable>: Sendable {
        let svid: SVID
        let signed: SignedSVID
    }

    /// Signs; a refusal is recorded.
    private func signed<SVID>(
        _ type: LeafSVIDType, _ id: SPIFFEID, _ origin: IssuanceOrigin, _ caller: String,
        _ sign: () throws(ServerError) -> Signed<SVID>
    ) -> Result<Signed<SVID>, ServerError> {
        do throws(ServerError) {
            return .success(try sign())
        } catch {
            self.refuse(
                error, type, spiffeID: id, entryID: origin.entryID, node: origin.node(id),
                caller: caller, reason: Self.reason(error))
            return .failure(error)
        }
    }

    /// Records what was signed, and hands out what may still be released then.
    private func release<SVID>(
        _ results: [Result<Signed<SVID>, ServerError>]
    ) async throws -> [Result<SVID, ServerError>] {
        var events: [LeafEvent] = []
        events.reserveCapacity(results.count)
        for case .success(let one) in results { events.append(.svidIssued(one.signed.leaf)) }
        if !events.isEmpty { try await self.recorder.append(events) }
        return results.map { result in
            result.flatMap { one in
                do throws(ServerError) {
                    try self.admission.admit(one.signed)
                    return .success(one.svid)
                } catch {
                    let leaf = one.signed.leaf
                    self.refuse(
                        error, leaf.svidType, spiffeID: leaf.spiffeID, entryID: leaf.entryID,
                        node: leaf.node, caller: leaf.caller, reason: Self.reason(error))
                    return .failure(error)
                }
            }
        }
    }

    private static func only<SVID>(_ results: [Result<SVID, ServerError>]) throws -> SVID {
        guard let result = results.first else {
            throw ServerError(.internal, "issuance gave no result")
        }
        return try result.get()
    }

    private func sign(
        _ issuance: JWTIssuance, by authority: JWTAuthority, at now: Int64, requestedBy: String
    ) throws(ServerError) -> Signed<IssuedJWTSVID> {
        try self.lint(issuance.spiffeID)
        let audience = issuance.audience.filter { !$0.isEmpty }
        guard !audience.isEmpty else {
            throw ServerError(
                .invalidArgument, "audience is missing; give at least one non-empty value")
        }
        let subject = issuance.origin.subject(
            .jwt, issuance.spiffeID, authorityID: authority.id)
        let ticket = try self.admission.begin(subject)
        let ttl = issuance.ttl > 0 ? issuance.ttl : self.settings.defaultJWTTTL
        let expiresAt = min(now + Int64(ttl), authority.notAfter)
        let jti =
            issuance.includesJTI || ticket.isToBeUnique
            ? Base64URL.encode(SerialNumbers.random()) : ""
        let claims = JWTClaims(
            subject: issuance.spiffeID.string, audience: audience, issuedAt: now,
            expiresAt: expiresAt, issuer: self.settings.jwtIssuer, tokenID: jti,
            status: ticket.status)
        let token: String
        do { token = try authority.signer.sign(claims: claims.json) } catch {
            throw ServerError(.internal, "cannot sign JWT-SVID: \(error)")
        }
        var leaf = issuance.origin.leaf(
            subject, digest: [], notAfter: expiresAt, caller: requestedBy)
        leaf.jti = jti.isEmpty ? nil : jti
        return Signed(
            svid: IssuedJWTSVID(
                spiffeID: issuance.spiffeID, token: token, issuedAt: now, expiresAt: expiresAt),
            signed: Self.signed(token, leaf, subject, ticket))
    }

    private func sign(
        _ issuance: WITIssuance, by authority: WITAuthority, at now: Int64, requestedBy: String
    ) throws(ServerError) -> Signed<IssuedWITSVID> {
        try self.lint(issuance.spiffeID)
        let subject = issuance.origin.subject(
            .wit, issuance.spiffeID, authorityID: authority.id)
        let ticket = try self.admission.begin(subject)
        let ttl = issuance.ttl > 0 ? issuance.ttl : self.settings.defaultWITTTL
        let expiresAt = min(now + Int64(ttl), authority.notAfter)
        let claims = Self.claims(
            of: issuance, issuedAt: now, expiresAt: expiresAt, issuer: self.settings.witIssuer,
            status: ticket.status)
        let token: String
        do throws(JOSEError) { token = try authority.signer.sign(claims: claims) } catch {
            throw ServerError(.internal, "cannot sign WIT-SVID: \(error)")
        }
        var leaf = issuance.origin.leaf(
            subject, digest: [], notAfter: expiresAt, caller: requestedBy)
        leaf.keyThumbprint = Self.sha256(issuance.confirmationKey.publicKey.publicKeyDER)
        return Signed(
            svid: IssuedWITSVID(
                spiffeID: issuance.spiffeID, token: token, issuedAt: now, expiresAt: expiresAt),
            signed: Self.signed(token, leaf, subject, ticket))
    }

    private func sign(
        _ issuance: X509Issuance, by authority: X509Authority, at now: Int64, requestedBy: String
    ) throws(ServerError) -> Signed<IssuedX509SVID> {
        try self.lint(issuance.spiffeID)
        let subject = issuance.origin.subject(
            .x509, issuance.spiffeID, authorityID: authority.id)
        let ticket = try self.admission.begin(subject)
        let ttl = issuance.ttl > 0 ? issuance.ttl : self.settings.defaultX509TTL
        let expiresAt = min(now + Int64(ttl), authority.notAfter)
        let serial = SerialNumbers.random()
        let made: (certificate: [UInt8], keyInfo: [UInt8])
        do {
            made = try self.builder.signWithKeyInfo(
                X509Builder.Leaf(
                    spiffeID: issuance.spiffeID, publicKey: issuance.publicKey,
                    dnsNames: issuance.dnsNames, notBefore: now - 10, notAfter: expiresAt,
                    serial: serial, subject: issuance.subject),
                by: authority)
        } catch {
            throw ServerError(.internal, "cannot sign X509-SVID: \(error)")
        }
        let serialText = hex(serial)
        var leaf = issuance.origin.leaf(
            subject, digest: Self.sha256(made.certificate), notAfter: expiresAt,
            caller: requestedBy)
        leaf.serial = serialText
        leaf.keyThumbprint = Self.sha256(made.keyInfo)
        return Signed(
            svid: IssuedX509SVID(
                spiffeID: issuance.spiffeID, chain: [made.certificate], serial: serialText,
                expiresAt: expiresAt),
            signed: SignedSVID(subject: subject, leaf: leaf, ticket: ticket))
    }

    /// Completes the leaf of a token.
    private static func signed(
        _ token: String, _ leaf: SVIDIssuedLeaf, _ subject: IssuanceSubject,
        _ ticket: IssuanceTicket
    ) -> SignedSVID {
        let bytes = Array(token.utf8)
        let end = bytes.lastIndex(of: UInt8(ascii: ".")) ?? bytes.endIndex
        var leaf = leaf
        leaf.svidDigest = Self.sha256(bytes)
        leaf.signingInputDigest = Self.sha256(bytes[..<end])
        leaf.statusIndex = ticket.status?.index
        return SignedSVID(
            subject: subject, leaf: leaf, signingInputDigest: leaf.signingInputDigest,
            ticket: ticket)
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

    private static func sha256(_ bytes: some DataProtocol) -> [UInt8] {
        Array(SHA256.hash(data: bytes))
    }
}
