package import Foundation
package import Logging
import NIOConcurrencyHelpers
package import PluginAPI
package import SPIFFE

/// Holds the signing authorities of the trust domain and rotates them.
///
/// Each new authority is made, recorded, published in the bundle and written to the journal, in that order,
/// before it may sign. After a crash between two of these steps the journal still names the earlier
/// authorities; what was half made is made again.
package final class AuthorityManager: Sendable {
    private struct State {
        var lifecycles: [JournalEntry.Kind: AuthorityLifecycle] = [:]
        var authorities: [String: SigningAuthority] = [:]

        subscript(kind: JournalEntry.Kind) -> AuthorityLifecycle {
            get { self.lifecycles[kind] ?? AuthorityLifecycle([]) }
            set { self.lifecycles[kind] = newValue }
        }

        /// The authority that signs.
        func active(_ kind: JournalEntry.Kind) -> SigningAuthority? {
            self.lifecycles[kind]?.current.flatMap { self.authorities[$0.authorityID] }
        }

        /// Of all kinds, for the journal.
        var entries: [JournalEntry] { JournalEntry.Kind.allCases.flatMap { self[$0].entries } }
    }

    private let trustDomain: TrustDomain
    private let settings: Settings
    private let maker: AuthorityMaker
    private let journal: any JournalStore
    private let bundles: any BundleStore
    private let recorder: any IssuanceRecorder
    private let now: @Sendable () -> Date
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    package init(
        trustDomain: TrustDomain, settings: Settings, keyManager: any KeyManager,
        journal: any JournalStore, bundles: any BundleStore, recorder: any IssuanceRecorder,
        logger: Logger, now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.trustDomain = trustDomain
        self.settings = settings
        self.maker = AuthorityMaker(
            trustDomain: trustDomain, settings: settings, keyManager: keyManager)
        self.journal = journal
        self.bundles = bundles
        self.recorder = recorder
        self.logger = logger
        self.now = now
    }

    // MARK: Signing

    /// The authority that signs X509-SVIDs now.
    ///
    /// - Throws: ``ServerError`` `unavailable` when there is none that is still valid.
    package func x509Authority() throws(ServerError) -> X509Authority {
        guard case .x509(let authority)? = self.state.withLockedValue({ $0.active(.x509) }),
            authority.notAfter > self.unixNow
        else { throw Self.none(.x509) }
        return authority
    }

    /// The authority that signs JWT-SVIDs now.
    ///
    /// - Throws: ``ServerError`` `unimplemented` when JWT-SVIDs are disabled, `unavailable` when there is no
    ///   authority that is still valid.
    package func jwtAuthority() throws(ServerError) -> JWTAuthority {
        try self.require(.jwt)
        guard case .jwt(let authority)? = self.state.withLockedValue({ $0.active(.jwt) }),
            authority.notAfter > self.unixNow
        else { throw Self.none(.jwt) }
        return authority
    }

    /// Whether WIT-SVIDs are issued.
    package var issuesWITSVIDs: Bool { self.settings.issuesWITSVIDs }

    /// The authority that signs WIT-SVIDs now.
    ///
    /// - Throws: ``ServerError`` `unimplemented` when WIT-SVIDs are not enabled, `unavailable` when there is
    ///   no authority that is still valid.
    package func witAuthority() throws(ServerError) -> WITAuthority {
        try self.require(.wit)
        guard case .wit(let authority)? = self.state.withLockedValue({ $0.active(.wit) }),
            authority.notAfter > self.unixNow
        else { throw Self.none(.wit) }
        return authority
    }

    /// - Throws: ``ServerError`` `unimplemented` when SVIDs of that kind are not issued.
    private func require(_ kind: JournalEntry.Kind) throws(ServerError) {
        guard !self.settings.issues(kind) else { return }
        throw ServerError(
            .unimplemented,
            kind == .wit ? "WIT-SVIDs are not enabled" : "JWT functionality is disabled")
    }

    private static func none(_ kind: JournalEntry.Kind) -> ServerError {
        ServerError(
            .unavailable,
            "no active \(kind.title) authority; the server log says why it could not be made")
    }

    // MARK: Rotation

    /// Resumes the authorities of the journal, and makes what is missing.
    ///
    /// - Throws: when the journal or the keys cannot be read, or no authority can be made.
    package func start(ownBundle: TrustBundle?) async throws {
        let entries = try await self.journal.loadJournal()
        var resumed: [JournalEntry.Kind: [JournalEntry]] = [:]
        for entry in entries {
            guard try await self.resume(entry, ownBundle: ownBundle) else { continue }
            resumed[entry.kind, default: []].append(entry)
        }
        let lifecycles = resumed.mapValues { AuthorityLifecycle($0) }
        self.state.withLockedValue { state in
            for (kind, lifecycle) in lifecycles { state[kind] = lifecycle }
        }
        try await self.rotate()
    }

    /// Does what is due now: prepares and activates authorities.
    package func rotate() async throws {
        for kind in self.kinds {
            // At most prepare and activate, and once more after an expired pair.
            for _ in 0..<4 {
                let now = self.unixNow
                guard let action = self.state.withLockedValue({ $0[kind].action(at: now) })
                else { break }
                try await self.perform(action, kind)
            }
        }
    }

    /// Rotates when due, until cancelled. A failure is logged and tried again.
    package func run() async throws {
        while true {
            let now = self.unixNow
            let due = self.state.withLockedValue { state in
                self.kinds.map { state[$0].secondsUntilDue(at: now) }.min() ?? 3_600
            }
            // An hour at most, so that a clock set forward is noticed.
            try await Task.sleep(for: .seconds(min(due, 3_600)))
            do {
                try await self.rotate()
            } catch {
                self.logger.error(
                    "cannot rotate authorities", metadata: [LogKeys.error: "\(error)"])
                try await Task.sleep(for: .seconds(5))
            }
        }
    }

    /// The kinds that are made and rotated here.
    private var kinds: [JournalEntry.Kind] {
        JournalEntry.Kind.allCases.filter(self.settings.issues)
    }

    private func perform(_ action: AuthorityLifecycle.Action, _ kind: JournalEntry.Kind)
        async throws
    {
        switch action {
        case .prepare(let slot):
            let entry = try await self.prepare(kind, slot)
            try await self.commit(kind) { $0.prepared(entry) }
            self.logger.info(
                "prepared authority", metadata: Self.metadata(entry))
        case .activate:
            try await self.commit(kind) { $0.activated() }
            if let current = self.state.withLockedValue({ $0[kind].current }) {
                self.logger.info("activated authority", metadata: Self.metadata(current))
            }
        }
    }

    /// Changes the lifecycle in the journal first, then in memory. One caller at a time: `start`, then `run`.
    private func commit(
        _ kind: JournalEntry.Kind, _ change: (inout AuthorityLifecycle) -> Void
    ) async throws {
        var changed = self.state.withLockedValue { $0 }
        change(&changed[kind])
        try await self.journal.saveJournal(changed.entries)
        let lifecycle = changed[kind]
        self.state.withLockedValue { $0[kind] = lifecycle }
    }

    private func prepare(_ kind: JournalEntry.Kind, _ slot: String) async throws -> JournalEntry {
        let (entry, authority) = try await self.maker.make(kind, slot: slot, at: self.unixNow)
        try await self.recorder.append([
            IssuanceRecord(entry, of: self.trustDomain, reason: "authority", requestedBy: "self")
        ])
        _ = try await self.bundles.updateBundle(self.trustDomain) { $0.add(entry) }
        self.state.withLockedValue { $0.authorities[entry.authorityID] = authority }
        return entry
    }

    /// Takes an authority of the journal up again: its key must be in the key manager, fit, and its public half
    /// still be in the bundle.
    private func resume(_ entry: JournalEntry, ownBundle: TrustBundle?) async throws -> Bool {
        guard let authority = try await self.maker.restore(entry),
            ownBundle?.contains(entry) == true
        else {
            if entry.status == .active {
                self.logger.warning(
                    "active authority cannot be resumed: its key or its place in the bundle is gone; a new authority is made",
                    metadata: Self.metadata(entry))
            }
            return entry.status == .old
        }
        self.state.withLockedValue { $0.authorities[entry.authorityID] = authority }
        if entry.status == .active {
            self.logger.info("resumed authority", metadata: Self.metadata(entry))
        }
        return true
    }

    private var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

    private static func metadata(_ entry: JournalEntry) -> Logger.Metadata {
        [
            LogKeys.authorityID: "\(entry.authorityID)",
            LogKeys.authorityKind: "\(entry.kind.rawValue)",
            LogKeys.slot: "\(entry.slot)", LogKeys.expiresAt: "\(entry.notAfter)",
        ]
    }
}
