import Logging
import SPIFFE

/// Keeps the lists of what was taken back and signs those that have to be signed anew. Decides nothing about when it is
/// asked; ``RevocationPublisher`` does.
struct RevocationSigner: Sendable {
    /// Certificates and lists count from a little earlier, for verifiers whose clock is behind.
    private static let backdating: Int64 = 10

    private struct HeldCRL: Sendable {
        var builder: CRLBuilder
        var signed: SignedList?
        /// What is listed has changed since it was signed.
        var isStale = true
    }

    let settings: RevocationPublisher.Settings
    private var crls: [String: HeldCRL] = [:]
    /// Those without a key; complained about once.
    private var keyless: Set<String> = []
    private var statusList = StatusListBuilder()
    private var statusListIsStale = true
    private(set) var signedStatusList: SignedList?

    init(settings: RevocationPublisher.Settings) { self.settings = settings }

    /// The lists that are signed, by authority.
    var signedCRLs: [String: SignedList] { self.crls.compactMapValues(\.signed) }

    /// Whether something would be signed that nobody has told of: a list has come of age, or is too short.
    func isDue(at now: Int64, tokens: Int64) -> Bool {
        if self.crls.values.contains(where: { $0.signed?.isDue(at: now) == true }) { return true }
        guard self.settings.statusListURI != nil else { return false }
        return self.signedStatusList?.isDue(at: now) == true
            || self.statusList.isTooShort(for: tokens)
    }

    /// Whether lists are held for these X.509 authorities and no others.
    func holds(_ authorityIDs: Set<String>) -> Bool {
        !self.settings.signsCRLs || self.keyless.union(self.crls.keys) == authorityIDs
    }

    // MARK: CRLs

    /// Brings the CRLs up to date.
    ///
    /// - Returns: whether a list was signed or dropped, and whether one could not be signed; it then stays as it was.
    mutating func signCRLs(
        _ revoked: any RevokedSVIDs, _ authorities: any ListAuthorities, number: UInt64,
        at now: Int64, logger: Logger
    ) async -> (hasChanged: Bool, hasFailed: Bool) {
        guard self.settings.signsCRLs else { return (false, false) }
        let ids = authorities.crlAuthorityIDs
        self.keyless.formIntersection(ids)
        var hasChanged = false
        var hasFailed = false
        for id in self.crls.keys where !ids.contains(id) {
            self.crls[id] = nil
            hasChanged = true
        }
        for id in ids.sorted() where !self.keyless.contains(id) {
            do {
                guard var held = try await self.held(id, authorities, logger) else { continue }
                if held.builder.update(revoked.revokedCertificates(authorityID: id)) {
                    held.isStale = true
                }
                self.crls[id] = held
                guard held.isStale || held.signed?.isDue(at: now) ?? true else { continue }
                let expiresAt = now + self.settings.lifetime
                held.signed = SignedList(
                    bytes: try await held.builder.sign(
                        number: number, thisUpdate: now - Self.backdating, nextUpdate: expiresAt),
                    authorityID: id, signedAt: now, expiresAt: expiresAt)
                held.isStale = false
                self.crls[id] = held
                hasChanged = true
            } catch {
                hasFailed = true
                logger.error(
                    "cannot sign CRL; the last one stays published",
                    metadata: [LogKeys.authorityID: "\(id)", LogKeys.error: "\(error)"])
            }
        }
        return (hasChanged, hasFailed)
    }

    private mutating func held(
        _ id: String, _ authorities: any ListAuthorities, _ logger: Logger
    ) async throws -> HeldCRL? {
        if let held = self.crls[id] { return held }
        guard let authority = try await authorities.crlAuthority(id) else {
            self.keyless.insert(id)
            logger.warning(
                "no CRL for an X.509 authority whose key is gone: verifiers that ask for one refuse what it signed",
                metadata: [LogKeys.authorityID: "\(id)"])
            return nil
        }
        return HeldCRL(builder: try CRLBuilder(authority: authority))
    }

    // MARK: Status list

    /// Brings the status list up to date.
    ///
    /// - Returns: whether it was signed, and whether it could not be; it then stays as it was.
    mutating func signStatusList(
        _ revoked: any RevokedSVIDs, _ authorities: any ListAuthorities, tokens: Int64,
        at now: Int64, logger: Logger
    ) async -> (hasChanged: Bool, hasFailed: Bool) {
        guard let uri = self.settings.statusListURI else { return (false, false) }
        do {
            let failure = self.updateStatusList(revoked.revokedStatuses(), tokens: tokens)
            let authority = try authorities.statusListAuthority()
            let isSigned = self.signedStatusList?.authorityID == authority.id
            if self.statusListIsStale || !isSigned || self.signedStatusList?.isDue(at: now) ?? true
            {
                let expiresAt = now + self.settings.lifetime
                let claims = try self.statusList.claims(
                    uri: uri, issuer: self.settings.issuer, issuedAt: now, expiresAt: expiresAt,
                    timeToLive: max(1, self.settings.lifetime / 2))
                let token = try await authority.signer.signer(
                    ofType: StatusListBuilder.tokenType
                ).signAsynchronously(claims: claims)
                self.signedStatusList = SignedList(
                    bytes: Array(token.utf8), authorityID: authority.id, signedAt: now,
                    expiresAt: expiresAt)
                self.statusListIsStale = false
                if let failure { Self.complain(failure, logger) }
                return (true, failure != nil)
            }
            return (false, failure != nil)
        } catch {
            Self.complain(error, logger)
            return (false, true)
        }
    }

    private mutating func updateStatusList(
        _ statuses: [Int64: Bool], tokens: Int64
    ) -> ServerError? {
        do throws(ServerError) {
            if try self.statusList.update(statuses, tokens: tokens) {
                self.statusListIsStale = true
            }
            return nil
        } catch {
            self.statusListIsStale = true
            return error
        }
    }

    private static func complain(_ error: any Error, _ logger: Logger) {
        logger.error(
            "cannot sign status list; the last one stays published",
            metadata: [LogKeys.error: "\(error)"])
    }
}
