import Crypto
package import Foundation
package import Logging
import NIOConcurrencyHelpers
package import PluginAPI
package import SPIFFE
import SwiftASN1
import X509

/// Holds the signing authorities of the trust domain and rotates them.
///
/// Each new authority is made, recorded, published in the bundle and written to the journal, in that order,
/// before it may sign. After a crash between two of these steps the journal still names the earlier
/// authorities; what was half made is made again.
package final class AuthorityManager: Sendable {
    package struct Settings: Sendable {
        package var authorityTTL: Duration
        package var x509KeyType: KeyType
        package var jwtKeyType: KeyType
        package var witKeyType: KeyType
        package var subject: X509Subject
        package var issuesJWTSVIDs: Bool
        /// Incubating, hence off.
        package var issuesWITSVIDs: Bool

        package init(
            authorityTTL: Duration = .seconds(86_400), x509KeyType: KeyType = .ecP256,
            jwtKeyType: KeyType = .ecP256, witKeyType: KeyType = .ecP256,
            subject: X509Subject = .authority, issuesJWTSVIDs: Bool = true,
            issuesWITSVIDs: Bool = false
        ) {
            self.authorityTTL = authorityTTL
            self.x509KeyType = x509KeyType
            self.jwtKeyType = jwtKeyType
            self.witKeyType = witKeyType
            self.subject = subject
            self.issuesJWTSVIDs = issuesJWTSVIDs
            self.issuesWITSVIDs = issuesWITSVIDs
        }
    }

    private struct State {
        var x509Lifecycle = AuthorityLifecycle([])
        var jwtLifecycle = AuthorityLifecycle([])
        var witLifecycle = AuthorityLifecycle([])
        var x509: [String: X509Authority] = [:]
        var jwt: [String: JWTAuthority] = [:]
        var wit: [String: WITAuthority] = [:]

        subscript(kind: JournalEntry.Kind) -> AuthorityLifecycle {
            get {
                switch kind {
                case .x509: self.x509Lifecycle
                case .jwt: self.jwtLifecycle
                case .wit: self.witLifecycle
                }
            }
            set {
                switch kind {
                case .x509: self.x509Lifecycle = newValue
                case .jwt: self.jwtLifecycle = newValue
                case .wit: self.witLifecycle = newValue
                }
            }
        }

        /// Of all kinds, for the journal.
        var entries: [JournalEntry] {
            self.x509Lifecycle.entries + self.jwtLifecycle.entries + self.witLifecycle.entries
        }
    }

    private let trustDomain: TrustDomain
    private let settings: Settings
    private let keyManager: any KeyManager
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
        self.keyManager = keyManager
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
        let authority = self.state.withLockedValue { state in
            state.x509Lifecycle.current.flatMap { state.x509[$0.authorityID] }
        }
        guard let authority, authority.notAfter > self.unixNow else {
            throw ServerError(
                .unavailable,
                "no active X.509 authority; the server log says why it could not be made")
        }
        return authority
    }

    /// The authority that signs JWT-SVIDs now.
    ///
    /// - Throws: ``ServerError`` `unimplemented` when JWT-SVIDs are disabled, `unavailable` when there is no
    ///   authority that is still valid.
    package func jwtAuthority() throws(ServerError) -> JWTAuthority {
        guard self.settings.issuesJWTSVIDs else {
            throw ServerError(.unimplemented, "JWT functionality is disabled")
        }
        let authority = self.state.withLockedValue { state in
            state.jwtLifecycle.current.flatMap { state.jwt[$0.authorityID] }
        }
        guard let authority, authority.notAfter > self.unixNow else {
            throw ServerError(
                .unavailable,
                "no active JWT authority; the server log says why it could not be made")
        }
        return authority
    }

    /// Whether WIT-SVIDs are issued.
    package var issuesWITSVIDs: Bool { self.settings.issuesWITSVIDs }

    /// The authority that signs WIT-SVIDs now.
    ///
    /// - Throws: ``ServerError`` `unimplemented` when WIT-SVIDs are not enabled, `unavailable` when there is
    ///   no authority that is still valid.
    package func witAuthority() throws(ServerError) -> WITAuthority {
        guard self.settings.issuesWITSVIDs else {
            throw ServerError(.unimplemented, "WIT-SVIDs are not enabled")
        }
        let authority = self.state.withLockedValue { state in
            state.witLifecycle.current.flatMap { state.wit[$0.authorityID] }
        }
        guard let authority, authority.notAfter > self.unixNow else {
            throw ServerError(
                .unavailable,
                "no active WIT authority; the server log says why it could not be made")
        }
        return authority
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
        JournalEntry.Kind.allCases.filter { kind in
            switch kind {
            case .x509: true
            case .jwt: self.settings.issuesJWTSVIDs
            case .wit: self.settings.issuesWITSVIDs
            }
        }
    }

    private func perform(_ action: AuthorityLifecycle.Action, _ kind: JournalEntry.Kind)
        async throws
    {
        switch action {
        case .prepare(let slot):
            let entry: JournalEntry
            switch kind {
            case .x509: entry = try await self.prepareX509(slot)
            case .jwt: entry = try await self.prepareJWT(slot)
            case .wit: entry = try await self.prepareWIT(slot)
            }
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

    private func prepareX509(_ slot: String) async throws -> JournalEntry {
        let key = try await self.keyManager.generateKey(
            id: JournalEntry.keyID(.x509, slot: slot), type: self.settings.x509KeyType)
        let now = self.unixNow
        let notAfter = now + self.settings.authorityTTL.components.seconds
        let serial = SerialNumbers.random()
        let certificate = try X509Builder.selfSignedAuthority(
            trustDomain: self.trustDomain, subject: self.settings.subject, key: key.privateKey,
            algorithm: key.type.signatureAlgorithm, notBefore: now - 10, notAfter: notAfter,
            serial: serial)
        let authority = try Self.x509Authority(certificate, key: key)
        let entry = JournalEntry(
            kind: .x509, slot: slot, authorityID: authority.id, status: .prepared, issuedAt: now,
            notAfter: notAfter, der: authority.der)
        try await self.record(
            .x509Authority, entry, serial: hex(serial),
            sha256: Array(SHA256.hash(data: authority.der)))
        _ = try await self.bundles.updateBundle(self.trustDomain) { bundle in
            bundle.x509Authorities.append(.init(der: entry.der))
        }
        self.state.withLockedValue { $0.x509[authority.id] = authority }
        return entry
    }

    private func prepareJWT(_ slot: String) async throws -> JournalEntry {
        let key = try await self.keyManager.generateKey(
            id: JournalEntry.keyID(.jwt, slot: slot), type: self.settings.jwtKeyType)
        let now = self.unixNow
        let notAfter = now + self.settings.authorityTTL.components.seconds
        let keyID = Self.randomKeyID()
        let authority = JWTAuthority(
            id: keyID, signer: try JWSSigner(privateKey: key.privateKey, keyID: keyID),
            notAfter: notAfter)
        let entry = JournalEntry(
            kind: .jwt, slot: slot, authorityID: keyID, status: .prepared, issuedAt: now,
            notAfter: notAfter, der: key.publicKeyDER)
        try await self.record(
            .jwtAuthority, entry, serial: keyID, sha256: Array(SHA256.hash(data: key.publicKeyDER)))
        _ = try await self.bundles.updateBundle(self.trustDomain) { bundle in
            bundle.jwtAuthorities.append(
                .init(keyID: keyID, publicKeyDER: entry.der, expiresAt: notAfter))
        }
        self.state.withLockedValue { $0.jwt[keyID] = authority }
        return entry
    }

    private func prepareWIT(_ slot: String) async throws -> JournalEntry {
        let key = try await self.keyManager.generateKey(
            id: JournalEntry.keyID(.wit, slot: slot), type: self.settings.witKeyType)
        let now = self.unixNow
        let notAfter = now + self.settings.authorityTTL.components.seconds
        let keyID = Self.randomKeyID()
        let authority = try Self.witAuthority(key, keyID: keyID, notAfter: notAfter)
        let entry = JournalEntry(
            kind: .wit, slot: slot, authorityID: keyID, status: .prepared, issuedAt: now,
            notAfter: notAfter, der: key.publicKeyDER)
        try await self.record(
            .witAuthority, entry, serial: keyID, sha256: Array(SHA256.hash(data: key.publicKeyDER)))
        _ = try await self.bundles.updateBundle(self.trustDomain) { bundle in
            bundle.witAuthorities.append(
                .init(keyID: keyID, publicKeyDER: entry.der, expiresAt: notAfter))
        }
        self.state.withLockedValue { $0.wit[keyID] = authority }
        return entry
    }

    private func record(
        _ kind: IssuanceRecord.Kind, _ entry: JournalEntry, serial: String, sha256: [UInt8]
    ) async throws {
        try await self.recorder.append([
            IssuanceRecord(
                kind: kind, spiffeID: self.trustDomain.id, serial: serial,
                authorityID: entry.authorityID, sha256: sha256, expiresAt: entry.notAfter,
                reason: "authority", requestedBy: "self")
        ])
    }

    /// Takes an authority of the journal up again: its key must be in the key manager, fit, and its public half
    /// still be in the bundle.
    private func resume(_ entry: JournalEntry, ownBundle: TrustBundle?) async throws -> Bool {
        guard let key = try await self.keyManager.key(id: entry.keyID) else {
            if entry.status == .active {
                self.logger.warning(
                    "key of the active authority is not in the key manager; a new authority is made",
                    metadata: Self.metadata(entry))
            }
            return entry.status == .old
        }
        switch entry.kind {
        case .x509:
            guard ownBundle?.x509Authorities.contains(where: { $0.der == entry.der }) == true,
                let certificate = try? Certificate(derEncoded: entry.der),
                certificate.publicKey == key.privateKey.publicKey
            else { return entry.status == .old }
            let authority = try Self.x509Authority(certificate, key: key)
            self.state.withLockedValue { $0.x509[authority.id] = authority }
        case .jwt:
            guard
                ownBundle?.jwtAuthorities.contains(where: { $0.keyID == entry.authorityID })
                    == true,
                key.publicKeyDER == entry.der
            else { return entry.status == .old }
            let authority = JWTAuthority(
                id: entry.authorityID,
                signer: try JWSSigner(privateKey: key.privateKey, keyID: entry.authorityID),
                notAfter: entry.notAfter)
            self.state.withLockedValue { $0.jwt[authority.id] = authority }
        case .wit:
            guard
                ownBundle?.witAuthorities.contains(where: { $0.keyID == entry.authorityID })
                    == true,
                key.publicKeyDER == entry.der
            else { return entry.status == .old }
            let authority = try Self.witAuthority(
                key, keyID: entry.authorityID, notAfter: entry.notAfter)
            self.state.withLockedValue { $0.wit[authority.id] = authority }
        }
        if entry.status == .active {
            self.logger.info("resumed authority", metadata: Self.metadata(entry))
        }
        return true
    }

    private static func x509Authority(
        _ certificate: Certificate, key: ManagedKey
    ) throws -> X509Authority {
        let identifier = SubjectKeyIdentifier(hash: certificate.publicKey).keyIdentifier
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return X509Authority(
            id: hex(identifier), certificate: certificate, der: serializer.serializedBytes,
            key: key,
            subjectKeyIdentifier: identifier, signatureAlgorithm: key.type.signatureAlgorithm,
            notAfter: Int64(certificate.notValidAfter.timeIntervalSince1970))
    }

    private static func witAuthority(
        _ key: ManagedKey, keyID: String, notAfter: Int64
    ) throws -> WITAuthority {
        WITAuthority(
            id: keyID,
            signer: try JWSSigner(privateKey: key.privateKey, keyID: keyID, type: "wit+jwt"),
            notAfter: notAfter)
    }

    private static func randomKeyID() -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<32).map { _ in
            alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
        }
        return String(decoding: bytes, as: UTF8.self)
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
