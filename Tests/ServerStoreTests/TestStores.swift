import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerStore
import ServerTestSupport
import Testing

typealias AnyStore = EntryStore & NodeStore & BundleStore & FederationStore & JournalStore
    & RevocationStore & SnapshotStore

/// The stores that pass the same suite.
enum StoreKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case memory
    case sqlite

    var testDescription: String { self.rawValue }

    /// Runs `body` with an empty store of `acme.test` that tells `consumer` of its changes.
    func run(
        _ consumer: any ChangeFeedConsumer, _ body: (any AnyStore) async throws -> Void
    ) async throws {
        switch self {
        case .memory:
            let store = MemoryStore()
            store.setConsumer(consumer)
            try await body(store)
        case .sqlite:
            try await TemporaryFolder.with { folder in
                let store = try SQLiteStore(
                    path: folder.path + "/store.sqlite", trustDomain: try TrustDomain("acme.test"))
                store.setConsumer(consumer)
                try await body(store)
            }
        }
    }
}

/// A folder that goes away after the test.
struct TemporaryFolder: Sendable {
    let path: String

    static func with(_ body: (TemporaryFolder) async throws -> Void) async throws {
        let path = NSTemporaryDirectory() + "cygnet-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await body(TemporaryFolder(path: path))
    }

    func file(_ name: String) -> String { self.path + "/" + name }

    func write(_ text: String, to name: String, mode: Int = 0o600) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: self.file(name)))
        try FileManager.default.setAttributes(
            [.posixPermissions: mode], ofItemAtPath: self.file(name))
    }

    func read(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: self.file(name))))
    }

    func mode(_ name: String) throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: self.file(name))
        return try #require(attributes[.posixPermissions] as? NSNumber).intValue
    }
}

/// Keeps what the feed delivered, and checks that positions follow each other without gap.
final class FeedLog: ChangeFeedConsumer {
    private struct State {
        var changes: [Change] = []
        var seq: UInt64 = 0
        var gaps = 0
    }

    private let state = NIOLockedValueBox(State())

    func apply(_ changes: [Change], seq: UInt64) {
        self.state.withLockedValue { state in
            if seq != state.seq + UInt64(changes.count) { state.gaps += 1 }
            state.seq = seq
            state.changes.append(contentsOf: changes)
        }
    }

    var changes: [Change] { self.state.withLockedValue { $0.changes } }
    var seq: UInt64 { self.state.withLockedValue { $0.seq } }
    var gaps: Int { self.state.withLockedValue { $0.gaps } }
}

/// Everything a store holds, comparable.
struct Contents: Equatable, Sendable {
    var entries: [Entry] = []
    var nodes: [AttestedNode] = []
    var bundles: [TrustBundle] = []
    var relationships: [FederationRelationship] = []
    var revocations: [Revocation] = []
    var limits: [PartnerLimits] = []

    static func of(_ store: any SnapshotStore) async throws -> (contents: Contents, seq: UInt64) {
        let box = NIOLockedValueBox(Contents())
        let seq = try await store.loadAll { changes in
            box.withLockedValue { contents in
                for change in changes {
                    switch change {
                    case .entryUpserted(let entry): contents.entries.append(entry)
                    case .nodeUpserted(let node): contents.nodes.append(node)
                    case .bundleUpserted(let bundle): contents.bundles.append(bundle)
                    case .relationshipUpserted(let relationship):
                        contents.relationships.append(relationship)
                    case .revocationUpserted(let revocation):
                        contents.revocations.append(revocation)
                    case .limitsUpserted(let limits): contents.limits.append(limits)
                    case .entryRemoved, .nodeRemoved, .bundleRemoved, .relationshipRemoved,
                        .revocationRemoved, .limitsRemoved:
                        break
                    }
                }
            }
        }
        return (box.withLockedValue { $0 }.sorted, seq)
    }

    /// What applying the changes one after the other leaves.
    init(applying changes: [Change]) {
        var entries: [String: Entry] = [:]
        var nodes: [SPIFFEID: AttestedNode] = [:]
        var bundles: [TrustDomain: TrustBundle] = [:]
        var relationships: [TrustDomain: FederationRelationship] = [:]
        var revocations: [String: Revocation] = [:]
        var limits: [TrustDomain: PartnerLimits] = [:]
        for change in changes {
            switch change {
            case .entryUpserted(let entry): entries[entry.id] = entry
            case .entryRemoved(let id): entries[id] = nil
            case .nodeUpserted(let node): nodes[node.id] = node
            case .nodeRemoved(let id): nodes[id] = nil
            case .bundleUpserted(let bundle): bundles[bundle.trustDomain] = bundle
            case .bundleRemoved(let domain): bundles[domain] = nil
            case .relationshipUpserted(let relationship):
                relationships[relationship.trustDomain] = relationship
            case .relationshipRemoved(let domain): relationships[domain] = nil
            case .revocationUpserted(let revocation): revocations[revocation.id] = revocation
            case .revocationRemoved(let id): revocations[id] = nil
            case .limitsUpserted(let one): limits[one.trustDomain] = one
            case .limitsRemoved(let domain): limits[domain] = nil
            }
        }
        self.entries = Array(entries.values)
        self.nodes = Array(nodes.values)
        self.bundles = Array(bundles.values)
        self.relationships = Array(relationships.values)
        self.revocations = Array(revocations.values)
        self.limits = Array(limits.values)
        self = self.sorted
    }

    init() {}

    private var sorted: Contents {
        var result = self
        result.entries.sort { $0.id < $1.id }
        result.nodes.sort { $0.id < $1.id }
        result.bundles.sort { $0.trustDomain < $1.trustDomain }
        result.relationships.sort { $0.trustDomain < $1.trustDomain }
        result.revocations.sort { $0.id < $1.id }
        result.limits.sort { $0.trustDomain < $1.trustDomain }
        return result
    }
}
