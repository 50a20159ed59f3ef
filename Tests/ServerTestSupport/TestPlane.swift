package import Foundation
package import Logging
import NIOConcurrencyHelpers
package import PluginAPI
import Plugins
package import SPIFFE
package import ServerCore

/// A clock that only moves when told to.
package final class TestClock: Sendable {
    private let time: NIOLockedValueBox<Int64>

    package init(_ unixTime: Int64 = 1_900_000_000) { self.time = NIOLockedValueBox(unixTime) }

    package var unixTime: Int64 { self.time.withLockedValue { $0 } }
    package func advance(by seconds: Int64) { self.time.withLockedValue { $0 += seconds } }
    package var now: @Sendable () -> Date {
        { Date(timeIntervalSince1970: TimeInterval(self.unixTime)) }
    }
}

/// The control plane of `acme.test`, or another trust domain, without network and disk.
package struct TestPlane: Sendable {
    package let trustDomain: TrustDomain
    package let clock: TestClock
    package let store: MemoryStore
    package let keys: any KeyManager
    package let recorder: MemoryRecorder
    package let changes: ChangeRecorder
    package let directory: Directory
    package let authorities: AuthorityManager
    package let issuer: Issuer
    package let nodes: NodeRegistry
    package let entries: EntryRegistry
    package let events: MemoryEvents
    package let admission: RevocationAdmission
    package let revocations: RevocationRegistry
    package let holders: ScriptedHolders

    /// - Parameters:
    ///   - confirmation: how long connected agents may take to confirm a bundle.
    ///   - relationships: those of the configuration.
    ///   - limits: what partners are trusted with, as the configuration says.
    package init(
        clock: TestClock = TestClock(), settings: Issuer.Settings = Issuer.Settings(),
        authority: AuthorityManager.Settings = AuthorityManager.Settings(),
        store: MemoryStore = MemoryStore(), keys: (any KeyManager)? = nil,
        recorder: MemoryRecorder = MemoryRecorder(),
        admission other: (any IssuanceAdmission)? = nil,
        confirmation: Duration = .seconds(600), events: MemoryEvents = MemoryEvents(),
        statusListURI: String? = nil, trustDomain name: String = "acme.test",
        relationships: [FederationRelationship] = [], limits: [PartnerLimits] = [],
        groups: TrustDomainGroups = .none
    ) async throws {
        let trustDomain = try TrustDomain(name)
        let keys = keys ?? MemoryKeyManager()
        let directory = Directory(
            trustDomain: trustDomain, relationships: relationships, limits: limits, groups: groups,
            now: clock.now)
        try await directory.load(from: store)
        store.setConsumer(directory)
        let changes = ChangeRecorder(recorder: recorder, store: store, logger: Self.logger)
        store.setLeafConsumer(changes)
        let authorities = AuthorityManager(
            trustDomain: trustDomain, settings: authority, keyManager: keys, journal: store,
            bundles: store, recorder: recorder,
            holders: ConnectedAgents(
                directory: directory, bound: confirmation, logger: Self.logger),
            logger: Self.logger, now: clock.now)
        try await authorities.start(ownBundle: directory.ownBundle)
        let admission = RevocationAdmission(
            directory: directory, statusListURI: statusListURI, now: clock.now)
        let issuer = try Issuer(
            trustDomain: trustDomain, settings: settings, authorities: authorities,
            recorder: recorder, admission: other ?? admission, now: clock.now)
        self.events = events
        self.admission = admission
        let holders = ScriptedHolders()
        self.holders = holders
        self.revocations = RevocationRegistry(
            directory: directory, store: store, admission: admission, recorder: events,
            flush: { holders.published }, holders: holders, logger: Self.logger, now: clock.now)
        self.trustDomain = trustDomain
        self.clock = clock
        self.store = store
        self.keys = keys
        self.recorder = recorder
        self.changes = changes
        self.directory = directory
        self.authorities = authorities
        self.issuer = issuer
        self.nodes = NodeRegistry(
            directory: directory, store: store, issuer: issuer, logger: Self.logger, now: clock.now)
        self.entries = EntryRegistry(directory: directory, store: store, now: clock.now)
    }

    /// A logger that says nothing.
    package static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// The ID with that path in the trust domain.
    package func id(_ path: String) throws -> SPIFFEID {
        try SPIFFEID(trustDomain: self.trustDomain, path: path)
    }
}
