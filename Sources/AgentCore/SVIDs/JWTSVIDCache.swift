import SPIFFE

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// JWT-SVIDs held for workloads, one per entry and set of audiences, and the requests for more.
///
/// A state machine without I/O, like ``SVIDCache``. A token past half of its life is replaced when
/// it is asked for; if the server cannot be asked it is handed out until it expires.
package struct JWTSVIDCache: Sendable {
    package struct Key: Hashable, Sendable {
        package let entryID: String
        /// Sorted by bytes, without duplicates.
        package let audience: [String]

        package init(entryID: String, audience: [String]) {
            self.entryID = entryID
            var unique: [String] = []
            for one in audience.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) })
            where unique.last?.utf8.elementsEqual(one.utf8) != true {
                unique.append(one)
            }
            self.audience = unique
        }

        // Bytes are compared, not Unicode equivalence: who asks for one audience must not get a token
        // for another that only looks like it. What is equal here hashes alike as texts too.
        package static func == (left: Key, right: Key) -> Bool {
            left.entryID == right.entryID
                && left.audience.elementsEqual(right.audience) {
                    $0.utf8.elementsEqual($1.utf8)
                }
        }
    }

    /// What to do with a call for a token.
    package enum Answer: Sendable {
        case token(IssuedJWTSVID)
        /// Wait for request `id`. `isNew`: it must be sent first. `fallback` may be handed out if
        /// it fails.
        case wait(id: UInt64, isNew: Bool, fallback: IssuedJWTSVID?)
    }

    private struct Held: Sendable {
        var svid: IssuedJWTSVID
        var rotateAt: Date
        var lastUse: UInt64
    }

    private struct Request: Sendable {
        let key: Key
        let entry: AuthorizedEntry
    }

    private var held: [Key: Held] = [:]
    private var requests: [UInt64: Request] = [:]
    private var requestIDs: [Key: UInt64] = [:]
    private var nextID: UInt64 = 1
    private var useCounter: UInt64 = 0
    private let maximum: Int
    private let rotation = RotationPolicy()
    private let random: @Sendable () -> Double

    package init(
        maximum: Int = 1000, random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }
    ) {
        self.maximum = max(1, maximum)
        self.random = random
    }

    package var count: Int { self.held.count }

    /// A workload asks for a token.
    package mutating func ask(
        _ entry: AuthorizedEntry, audience: [String], isConnected: Bool, now: Date
    ) -> Answer {
        let key = Key(entryID: entry.id, audience: audience)
        if entry.includesJTI {
            // Each token is to be unique, so nothing is kept and nobody waits for another's
            // request.
            return self.start(key, entry, shared: false, fallback: nil)
        }
        self.useCounter += 1
        var fallback: IssuedJWTSVID?
        if let held = self.held[key], held.svid.expiresAt > now,
            held.svid.spiffeID == entry.spiffeID
        {
            self.held[key]?.lastUse = self.useCounter
            if held.rotateAt > now || !isConnected { return .token(held.svid) }
            fallback = held.svid
        }
        if let id = self.requestIDs[key] { return .wait(id: id, isNew: false, fallback: fallback) }
        return self.start(key, entry, shared: true, fallback: fallback)
    }

    /// The token that ``ask(_:audience:isConnected:now:)`` would give at once, if it would.
    package mutating func held(
        _ entry: AuthorizedEntry, audience: [String], isConnected: Bool, now: Date
    ) -> IssuedJWTSVID? {
        let key = Key(entryID: entry.id, audience: audience)
        guard !entry.includesJTI, let held = self.held[key], held.svid.expiresAt > now,
            held.svid.spiffeID == entry.spiffeID, held.rotateAt > now || !isConnected
        else { return nil }
        self.useCounter += 1
        self.held[key]?.lastUse = self.useCounter
        return held.svid
    }

    private mutating func start(
        _ key: Key, _ entry: AuthorizedEntry, shared: Bool, fallback: IssuedJWTSVID?
    ) -> Answer {
        let id = self.nextID
        self.nextID += 1
        self.requests[id] = Request(key: key, entry: entry)
        if shared { self.requestIDs[key] = id }
        return .wait(id: id, isNew: true, fallback: fallback)
    }

    /// What the request asks the server for.
    package func request(_ id: UInt64) -> (entry: AuthorizedEntry, audience: [String])? {
        self.requests[id].map { ($0.entry, $0.key.audience) }
    }

    /// The server signed; later calls are answered from here.
    package mutating func signed(_ id: UInt64, _ svid: IssuedJWTSVID) {
        guard let request = self.requests[id] else { return }
        // False when the entry changed after the request was made: good for who waits, not for
        // keeping.
        let isCurrent = self.requestIDs[request.key] == id
        self.failed(id)
        guard isCurrent, svid.spiffeID == request.entry.spiffeID else { return }
        let rotateAt = self.rotation.rotationDate(
            notBefore: svid.issuedAt, notAfter: svid.expiresAt, jitter: self.random())
        self.useCounter += 1
        self.held[request.key] = Held(svid: svid, rotateAt: rotateAt, lastUse: self.useCounter)
        if self.held.count <= self.maximum { return }
        let oldest = self.held.sorted { $0.value.lastUse < $1.value.lastUse }
        for (key, _) in oldest.prefix(max(1, self.maximum / 10)) { self.held[key] = nil }
    }

    /// The request will not be answered.
    package mutating func failed(_ id: UInt64) {
        guard let request = self.requests.removeValue(forKey: id) else { return }
        if self.requestIDs[request.key] == id { self.requestIDs[request.key] = nil }
    }

    /// Entries changed or went: their tokens are out of date.
    package mutating func drop(entryIDs: some Collection<String>) {
        if entryIDs.isEmpty { return }
        let ids = Set(entryIDs)
        self.held = self.held.filter { !ids.contains($0.key.entryID) }
        // Who asks from now on must not be given what was asked for before the change.
        self.requestIDs = self.requestIDs.filter { !ids.contains($0.key.entryID) }
    }

    /// Tokens were taken back.
    package mutating func drop(where isRevoked: (IssuedJWTSVID) -> Bool) {
        self.held = self.held.filter { !isRevoked($0.value.svid) }
    }

    /// Authorities were withdrawn: no token may rest on them.
    package mutating func drop(keyIDs: Set<String>) {
        if keyIDs.isEmpty { return }
        self.held = self.held.filter { held in
            held.value.svid.keyID.map { !keyIDs.contains($0) } ?? true
        }
    }
}
