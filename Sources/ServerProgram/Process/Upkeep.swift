import Foundation
import Logging
import SPIFFE
import ServerCore
import ServerStore

/// What the server does now and then: removes what has expired, and proves that its memory equals its store.
///
/// None of it is a security control: expiry is checked where it matters.
struct Upkeep: Sendable {
    private static let interval = Duration.seconds(300)
    private static let keptChanges: Int64 = 10_000
    /// Authorities stay in the bundle this long after they have expired, in seconds.
    private static let authorityGrace: Int64 = 86_400

    let directory: Directory
    let store: SQLiteStore
    let entries: EntryRegistry
    let nodes: NodeRegistry
    let bundles: any BundleStore
    let changes: ChangeRecorder
    let pruneNodesExpiredFor: Int64?
    let prunesTOFUNodes: Bool
    let logger: Logger

    /// Every five minutes, until cancelled. A failure is logged and does not stop the rest.
    func run() async throws {
        while true {
            try await Task.sleep(for: Self.interval)
            await self.attempt("remove expired entries") { try await self.entries.sweep() }
            await self.attempt("remove expired join tokens") {
                try await self.nodes.pruneJoinTokens()
            }
            if let age = self.pruneNodesExpiredFor {
                await self.attempt("remove expired agents") {
                    try await self.nodes.prune(
                        expiredFor: age, includingTOFU: self.prunesTOFUNodes)
                }
            }
            await self.attempt("remove expired authorities") { try await self.pruneBundle() }
            await self.attempt("remove old feed rows") {
                try await self.changes.save()
                try await self.store.pruneChanges(keep: Self.keptChanges)
                return 0
            }
            await self.attempt("compare memory with the store") { try await self.compare() }
        }
    }

    private func attempt(_ what: String, _ body: () async throws -> Int) async {
        do {
            let count = try await body()
            if count > 0 {
                self.logger.info(
                    "upkeep", metadata: ["task": "\(what)", LogKeys.count: "\(count)"])
            }
        } catch {
            self.logger.error(
                "upkeep failed", metadata: ["task": "\(what)", LogKeys.error: "\(error)"])
        }
    }

    /// Removes authorities long expired from the own bundle, never the last one.
    private func pruneBundle() async throws -> Int {
        let bound = Int64(Date().timeIntervalSince1970) - Self.authorityGrace
        guard let bundle = self.directory.ownBundle,
            let pruned = ExpiredAuthorities.prune(bundle, expiredBefore: bound)
        else { return 0 }
        let gone = Set(bundle.x509Authorities.map(\.der)).subtracting(
            pruned.x509Authorities.map(\.der))
        let goneKeys = Set(bundle.jwtAuthorities.map(\.keyID))
            .subtracting(pruned.jwtAuthorities.map(\.keyID))
        let goneWITKeys = Set(bundle.witAuthorities.map(\.keyID))
            .subtracting(pruned.witAuthorities.map(\.keyID))
        _ = try await self.bundles.updateBundle(bundle.trustDomain) { stored in
            stored.x509Authorities.removeAll { gone.contains($0.der) }
            stored.jwtAuthorities.removeAll { goneKeys.contains($0.keyID) }
            stored.witAuthorities.removeAll { goneWITKeys.contains($0.keyID) }
        }
        return gone.count + goneKeys.count + goneWITKeys.count
    }

    /// Compares the digests of memory and store, and loads everything anew when they differ.
    private func compare() async throws -> Int {
        let stored = try await self.store.entryDigest()
        let held = self.directory.entryDigest
        // A write in between moves the feed; then the next round compares.
        guard stored.seq == held.seq, stored.digest != held.digest else { return 0 }
        self.logger.error(
            "memory differs from the store; everything is loaded anew",
            metadata: [LogKeys.seq: "\(held.seq)"])
        try await self.directory.load(from: self.store)
        return 1
    }
}
