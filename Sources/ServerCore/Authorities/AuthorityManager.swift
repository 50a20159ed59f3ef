package import Foundation
package import Logging
import NIOConcurrencyHelpers
package import PluginAPI
package import SPIFFE

/// Holds the signing authorities of the trust domain and rotates them.
///
/// Each new authority is made, recorded, written to the journal and published in the bundle, in that order, before
/// it may sign. After a crash between two of these steps the next start goes on from the journal: it publishes what
/// was made, finishes what was withdrawn, and deletes keys that no authority has.
package final class AuthorityManager: Sendable {
    struct State {
        private var lifecycles: [JournalEntry.Kind: AuthorityLifecycle] = [:]
        /// By authority ID; of old ones nothing is needed any more.
        var authorities: [String: SigningAuthority] = [:]
        /// The key manager may hold keys that no authority has.
        var hasUnusedKeys = false

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

    let trustDomain: TrustDomain
    let settings: Settings
    let bundles: any BundleStore
    let holders: (any BundleHolders)?
    let state = NIOLockedValueBox(State())
    /// Those who must have a new SVID before the authority of theirs is taken back.
    let dependents = NIOLockedValueBox<[any AuthorityDependent]>([])
    /// Told of each change of the journal.
    let observers = NIOLockedValueBox<[@Sendable () -> Void]>([])
    /// Rotation and operators change authorities one at a time.
    let turn = Turn()
    let logger: Logger
    let maker: AuthorityMaker
    let keyManager: any KeyManager
    let journal: any JournalStore
    let recorder: any EventRecorder
    private let now: @Sendable () -> Date

    /// - Parameter holders: Who is to have a new authority in their bundle before it signs; nil when there are none.
    package init(
        trustDomain: TrustDomain, settings: Settings, keyManager: any KeyManager,
        journal: any JournalStore, bundles: any BundleStore, recorder: any EventRecorder,
        holders: (any BundleHolders)? = nil, logger: Logger,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.trustDomain = trustDomain
        self.settings = settings
        self.maker = AuthorityMaker(
            trustDomain: trustDomain, settings: settings, keyManager: keyManager)
        self.keyManager = keyManager
        self.journal = journal
        self.bundles = bundles
        self.recorder = recorder
        self.holders = holders
        self.logger = logger
        self.now = now
    }

    /// Has `dependent` replace its SVIDs whenever their authority is tainted.
    package func add(_ dependent: any AuthorityDependent) {
        self.dependents.withLockedValue { $0.append(dependent) }
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
    func require(_ kind: JournalEntry.Kind) throws(ServerError) {
        guard !self.settings.issues(kind) else { return }
        throw ServerError(
            .unimplemented,
            kind == .wit ? "WIT-SVIDs are not enabled" : "JWT functionality is disabled")
    }

    static func none(_ kind: JournalEntry.Kind) -> ServerError {
        ServerError(
            .unavailable,
            "no active \(kind.title) authority; the server log says why it could not be made")
    }

    // MARK: Rotation

    /// Resumes the authorities of the journal, finishes what was begun, and makes what is missing.
    ///
    /// - Throws: when the journal or the keys cannot be read, or no authority can be made.
    package func start(ownBundle: TrustBundle?) async throws {
        var resumed: [JournalEntry.Kind: [JournalEntry]] = [:]
        for entry in try await self.journal.loadJournal() {
            guard try await self.resume(entry, ownBundle: ownBundle) else { continue }
            resumed[entry.kind, default: []].append(entry)
        }
        let lifecycles = resumed.mapValues { entries in
            let prepared = entries.last { $0.status == .prepared }
            return AuthorityLifecycle(
                entries, isPublished: prepared.map { ownBundle?.contains($0) == true } ?? true)
        }
        self.state.withLockedValue { state in
            for (kind, lifecycle) in lifecycles { state[kind] = lifecycle }
            state.hasUnusedKeys = true
        }
        try await self.rotate()
    }

    /// Does what is due now: prepares and activates authorities, finishes what failed before.
    package func rotate() async throws {
        try await self.turn.taken {
            for kind in JournalEntry.Kind.allCases where self.settings.issues(kind) {
                // At most publish, prepare and activate, and once more after an expired pair.
                for _ in 0..<5 {
                    let now = self.unixNow
                    guard let action = self.state.withLockedValue({ $0[kind].action(at: now) })
                    else { break }
                    switch action {
                    case .prepare(let slot):
                        try await self.prepare(kind, slot: slot, requestedBy: "self")
                    case .publish: try await self.publish(kind)
                    case .activate: try await self.activate(kind, requestedBy: "self")
                    }
                }
            }
            // Also of a kind that is switched off: what was taken back must leave the bundle.
            for kind in JournalEntry.Kind.allCases { try await self.finishWithdrawals(kind) }
            await self.deleteUnusedKeys()
        }
    }

    /// Rotates when due, until cancelled. A failure is logged and tried again.
    package func run() async throws {
        while true {
            let now = self.unixNow
            let due = self.state.withLockedValue { state in
                JournalEntry.Kind.allCases.filter(self.settings.issues)
                    .map { state[$0].secondsUntilDue(at: now) }.min() ?? 3_600
            }
            // A minute at most, so that a clock set forward is noticed, and what an operator began and what failed is
            // finished.
            try await Task.sleep(for: .seconds(min(due, 60)))
            do {
                try await self.rotate()
            } catch {
                self.logger.error(
                    "cannot rotate authorities", metadata: [LogKeys.error: "\(error)"])
                try await Task.sleep(for: .seconds(5))
            }
        }
    }

    /// Takes an authority of the journal up again. One that signs, or will, needs its key, and one that signs must
    /// still be in the bundle; an old one that is not in the bundle any more was revoked or has long expired.
    private func resume(_ entry: JournalEntry, ownBundle: TrustBundle?) async throws -> Bool {
        let isInBundle = ownBundle?.contains(entry) == true
        switch entry.status {
        case .withdrawn: return true
        case .old: return isInBundle
        case .prepared, .active: break
        }
        guard let authority = try await self.maker.restore(entry),
            isInBundle || entry.status == .prepared
        else {
            if entry.status == .active {
                self.logger.warning(
                    "active authority cannot be resumed: its key or its place in the bundle is gone; a new authority is made",
                    metadata: Self.metadata(entry))
            }
            return false
        }
        self.state.withLockedValue { $0.authorities[entry.authorityID] = authority }
        if entry.status == .active {
            self.logger.info("resumed authority", metadata: Self.metadata(entry))
        }
        return true
    }

    var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

    static func metadata(_ entry: JournalEntry) -> Logger.Metadata {
        [
            LogKeys.authorityID: "\(entry.authorityID)",
            LogKeys.authorityKind: "\(entry.kind.rawValue)",
            LogKeys.slot: "\(entry.slot)", LogKeys.expiresAt: "\(entry.notAfter)",
        ]
    }
}
