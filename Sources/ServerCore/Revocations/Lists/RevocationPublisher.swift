package import Foundation
package import Logging
import NIOConcurrencyHelpers
package import SPIFFE

/// Signs lists of what was taken back and tells the audience: after each change, before a list expires, and when
/// authorities come or go.
///
/// Changes that come together are published together: the first at once, what follows within ``Settings/interval`` in one
/// go. A list that cannot be signed stays as it was, which is logged, and is tried again; the others are published.
package final class RevocationPublisher: Sendable {
    /// What is published, and how often.
    package struct Settings: Sendable {
        /// Whether there are CRLs.
        package var signsCRLs: Bool
        /// How long a list is valid; a new one comes at half of it.
        package var listTTL: Duration
        /// Where the status list is, as tokens name it; nil makes none.
        package var statusListURI: String?
        /// The `iss` claim of the status list, if any.
        package var issuer: String?
        /// The least time between two publications that nobody waits for.
        package var interval: Duration
        /// The same when changes keep coming: each publication is signed, and goes to every agent.
        package var longestInterval: Duration

        package init(
            signsCRLs: Bool = true, listTTL: Duration = .seconds(300),
            statusListURI: String? = nil, issuer: String? = nil,
            interval: Duration = .milliseconds(20), longestInterval: Duration = .seconds(1)
        ) {
            self.signsCRLs = signsCRLs
            self.listTTL = listTTL
            self.statusListURI = statusListURI
            self.issuer = issuer
            self.interval = interval
            self.longestInterval = longestInterval
        }

        /// Seconds.
        var lifetime: Int64 { max(2, self.listTTL.components.seconds) }
    }

    private struct State {
        var signer: RevocationSigner
        var lists = RevocationLists()
        var tokens: Set<[UInt8]> = []
        /// Unix seconds at which a list could not be signed; nil when all are.
        var failedAt: Int64?
    }

    /// How long until a failed signature is tried again, in seconds.
    private static let retryDelay: Int64 = 5

    private let trustDomain: TrustDomain
    private let settings: Settings
    private let revoked: any RevokedSVIDs
    private let authorities: any ListAuthorities
    private let audience: any RevocationAudience
    private let tokenPlaces: @Sendable () -> Int64
    private let logger: Logger
    private let now: @Sendable () -> Date
    private let state: NIOLockedValueBox<State>
    private let observers = NIOLockedValueBox<[@Sendable () -> Void]>([])
    /// One publication at a time.
    private let turn = Turn()
    private let changes: AsyncStream<Void>
    private let change: AsyncStream<Void>.Continuation

    /// - Parameters:
    ///   - revoked: What is taken back.
    ///   - authorities: Who signs.
    ///   - audience: Whom to tell.
    ///   - tokenPlaces: How many places of the status list tokens have or had: the largest index and one.
    package init(
        trustDomain: TrustDomain, settings: Settings, revoked: any RevokedSVIDs,
        authorities: any ListAuthorities, audience: any RevocationAudience,
        tokenPlaces: @escaping @Sendable () -> Int64 = { 0 }, logger: Logger,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.trustDomain = trustDomain
        self.settings = settings
        self.revoked = revoked
        self.authorities = authorities
        self.audience = audience
        self.tokenPlaces = tokenPlaces
        self.logger = logger
        self.now = now
        self.state = NIOLockedValueBox(State(signer: RevocationSigner(settings: settings)))
        let (changes, change) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        self.changes = changes
        self.change = change
        revoked.onChange { change.yield() }
        authorities.onAuthorityChange { change.yield() }
    }

    /// Has `body` called after each publication, on any thread; it must be quick.
    package func onPublication(_ body: @escaping @Sendable () -> Void) {
        self.observers.withLockedValue { $0.append(body) }
    }

    /// The name of the status list, as tokens have it; nil when there is none.
    package var statusListURI: String? { self.settings.statusListURI }

    /// The lists that are published now.
    package var lists: RevocationLists { self.state.withLockedValue { $0.lists } }

    /// The number of what was published last; 0 before that. It is larger than any number of an earlier run, as long as
    /// the clock is right.
    package var published: UInt64 { self.lists.number }

    /// Publishes what is pending, now.
    ///
    /// - Returns: the number that those have who know all that was taken back before the call. When a list could not be
    ///   signed it is that of a later publication.
    @discardableResult
    package func flush() async -> UInt64 {
        // Nothing in a turn of ours throws.
        (try? await self.turn.taken { await self.publish() }) ?? self.published &+ 1
    }

    /// Publishes at each change and when a list comes of age, until cancelled.
    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await self.flush()
                var pause = PublicationPause(
                    shortest: self.settings.interval, longest: self.settings.longestInterval)
                var rested = ContinuousClock.now
                for await _ in self.changes {
                    let next = pause.next(idle: ContinuousClock.now - rested)
                    await self.flush()
                    try await Task.sleep(for: next)
                    rested = .now
                }
                try Task.checkCancellation()
            }
            group.addTask {
                while true {
                    try await Task.sleep(for: .seconds(1))
                    if self.isDue { self.change.yield() }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Whether something is to be signed that nobody tells of.
    package var isDue: Bool {
        let now = self.unixNow
        let tokens = self.tokenPlaces()
        let ids = self.authorities.crlAuthorityIDs
        return self.state.withLockedValue { state in
            if let failedAt = state.failedAt {
                return now < failedAt || now >= failedAt + Self.retryDelay
            }
            return state.signer.isDue(at: now, tokens: tokens) || !state.signer.holds(ids)
        }
    }

    private func publish() async -> UInt64 {
        var state = self.state.withLockedValue { $0 }
        let now = self.unixNow
        // Milliseconds, so that numbers grow over restarts too.
        let number = max(state.lists.number &+ 1, UInt64(clamping: now) &* 1_000)
        let tokens = self.revoked.revokedTokens()
        let crls = await state.signer.signCRLs(
            self.revoked, self.authorities, number: number, at: now, logger: self.logger)
        let statusList = await state.signer.signStatusList(
            self.revoked, self.authorities, tokens: self.tokenPlaces(), at: now,
            logger: self.logger)
        let hasFailed = crls.hasFailed || statusList.hasFailed
        let isNew =
            crls.hasChanged || statusList.hasChanged || tokens != state.tokens
            || state.lists.number == 0
        state.failedAt = hasFailed ? now : nil
        if isNew {
            self.warnOfLong(state.signer.signedCRLs, before: state.lists.crls)
            state.tokens = tokens
            state.lists.number = number
            state.lists.crls = state.signer.signedCRLs
            state.lists.statusList = state.signer.signedStatusList
        }
        let result = state
        self.state.withLockedValue { $0 = result }
        if isNew {
            self.audience.publish(self.told(result), number: number)
            for observer in self.observers.withLockedValue({ $0 }) { observer() }
        }
        return hasFailed ? result.lists.number &+ 1 : result.lists.number
    }

    /// Says once of each CRL that it has come to be longer than verifiers take.
    private func warnOfLong(_ crls: [String: SignedList], before: [String: SignedList]) {
        let limit = CertificateRevocationList.maximumLength
        for (authorityID, crl) in crls
        where crl.bytes.count > limit && (before[authorityID]?.bytes.count ?? 0) <= limit {
            self.logger.error(
                """
                CRL is longer than agents and verifiers take: they keep the one before it until it is overdue; activate \
                another authority and revoke this one
                """,
                metadata: [
                    LogKeys.authorityID: "\(authorityID)", "bytes": "\(crl.bytes.count)",
                    "limit": "\(limit)",
                ])
        }
    }

    private func told(_ state: State) -> TrustDomainLists {
        var statusLists: [String: String] = [:]
        if let uri = self.settings.statusListURI, let list = state.lists.statusList {
            statusLists[uri] = String(decoding: list.bytes, as: UTF8.self)
        }
        return TrustDomainLists(
            trustDomain: self.trustDomain, crls: state.lists.crls.mapValues(\.bytes),
            statusLists: statusLists, revokedTokens: state.tokens)
    }

    private var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }
}
