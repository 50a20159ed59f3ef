import Crypto
package import Foundation
package import Logging
package import SPIFFE
import Transparency
package import X509

/// Attests agents, renews their SVIDs, and lists, bans and evicts them.
package struct NodeRegistry: Sendable {
    private let directory: Directory
    private let store: any NodeStore
    private let issuer: Issuer
    private let logger: Logger
    private let now: @Sendable () -> Date

    package init(
        directory: Directory, store: any NodeStore, issuer: Issuer, logger: Logger,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.directory = directory
        self.store = store
        self.issuer = issuer
        self.logger = logger
        self.now = now
    }

    private var trustDomain: TrustDomain { self.directory.trustDomain }
    private var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

    // MARK: Join tokens

    /// Makes a join token.
    ///
    /// - Parameters:
    ///   - value: The token, or empty for a random UUID. It becomes a segment of the agent's ID.
    ///   - ttl: Seconds, at least 1.
    ///   - agentID: A workload ID that the agent gets as an alias, or nil.
    /// - Throws: ``ServerError`` `invalidArgument`, or `alreadyExists` for a token that exists.
    package func createJoinToken(
        value: String, ttl: Int32, agentID: SPIFFEID?
    ) async throws -> JoinToken {
        guard ttl >= 1 else {
            throw ServerError(.invalidArgument, "ttl \(ttl) rejected: it must be at least 1 second")
        }
        let token = JoinToken(
            value: value.isEmpty ? UUID().uuidString.lowercased() : value,
            expiresAt: self.unixNow + Int64(ttl))
        let nodeID = try self.agentID(joinToken: token.value)
        var alias: Entry?
        if let agentID {
            try EntryValidation.checkWorkloadID(agentID, in: self.trustDomain)
            guard let selector = Selector(attestedType: "spiffe_id", value: nodeID.string) else {
                throw ServerError(.internal, "agent ID forms no selector")
            }
            var entry = Entry(
                id: UUID().uuidString.lowercased(), spiffeID: agentID, parentID: nodeID,
                selectors: [selector])
            entry.createdAt = self.unixNow
            alias = entry
        }
        try await self.store.createJoinToken(token, alias: alias)
        return token
    }

    private func agentID(joinToken value: String) throws(ServerError) -> SPIFFEID {
        guard !value.utf8.contains(UInt8(ascii: "/")),
            let id = try? SPIFFEID(
                trustDomain: self.trustDomain, path: "/spire/agent/join_token/" + value)
        else {
            // The token itself is a secret and stays out of the message.
            throw ServerError(
                .invalidArgument,
                "join token rejected: allowed are A-Z a-z 0-9 . - _ (it becomes part of the agent's ID)"
            )
        }
        return id
    }

    // MARK: Attestation

    /// Attests an agent that shows a join token.
    ///
    /// The token is taken out of the store before anything else, so of several agents with one token exactly one
    /// wins; an expired token is burnt by the attempt.
    ///
    /// - Returns: the agent's SVID; join-token agents cannot attest again.
    package func attest(
        joinToken value: String, publicKey: Certificate.PublicKey, from address: String
    ) async throws -> IssuedX509SVID {
        let refused = ServerError(
            .invalidArgument,
            "join token does not exist or has already been used; run \"token generate\" for a new one"
        )
        let id: SPIFFEID
        let selector: Selector
        do {
            guard let agent = try? self.agentID(joinToken: value),
                let token = try await self.store.takeJoinToken(value)
            else { throw refused }
            guard token.expiresAt > self.unixNow else {
                throw ServerError(
                    .invalidArgument, "join token has expired; run \"token generate\" for a new one"
                )
            }
            guard let own = Selector(attestedType: "spiffe_id", value: agent.string) else {
                throw refused
            }
            (id, selector) = (agent, own)
        } catch let error as ServerError {
            // Without the ID: the token is part of it, and may be somebody's who mistyped.
            self.issuer.refuse(error, .x509, caller: address)
            throw error
        }
        let evidence = Array(SHA256.hash(data: Array(value.utf8)))
        return try await self.admit(
            id, type: "join_token", selectors: [selector], canReattest: false, publicKey: publicKey,
            evidenceDigest: evidence, from: address)
    }

    private func admit(
        _ id: SPIFFEID, type: String, selectors: [Selector], canReattest: Bool,
        publicKey: Certificate.PublicKey, evidenceDigest: [UInt8], from address: String
    ) async throws -> IssuedX509SVID {
        let banned = ServerError(
            .permissionDenied, "failed to attest: agent is banned", agentReason: .banned)
        let selectors = Array(Set(selectors)).sorted()
        func refuse() -> ServerError {
            self.issuer.refuse(banned, .x509, spiffeID: id, node: id, caller: address)
            return banned
        }
        if self.directory.node(id)?.isBanned == true { throw refuse() }
        try self.checkRevocations(id)
        let svid = try await self.issueAgentSVID(
            id, publicKey, NodeOrigin(selectors: selectors, evidenceDigest: evidenceDigest),
            requestedBy: address)
        var attested = AttestedNode(
            id: id, attestationType: type, serial: svid.serial, expiresAt: svid.expiresAt)
        attested.selectors = selectors
        attested.canReattest = canReattest
        let node = attested
        // Checked again where the node is written: a ban may have come in between.
        let isStored = try await ChangeActor.$name.withValue(id.string) {
            try await ChangeActor.$evidenceDigest.withValue(evidenceDigest) {
                try await self.store.attestNode(node)
            }
        }
        guard isStored else { throw refuse() }
        self.logger.info(
            "agent attested",
            metadata: [LogKeys.agentID: "\(id)", LogKeys.serial: "\(svid.serial)"])
        return svid
    }

    /// Issues a renewed SVID to an attested agent. The old one stays valid until the new one is first used.
    ///
    /// - Throws: ``ServerError`` `permissionDenied` with `mustReattest` for agents that can attest again.
    package func renew(
        _ id: SPIFFEID, publicKey: Certificate.PublicKey
    ) async throws -> IssuedX509SVID {
        guard let node = self.directory.node(id) else {
            throw self.refused(Self.notAttested(id), id)
        }
        try self.checkRevocations(id)
        if node.canReattest {
            let error = ServerError(
                .permissionDenied, "agent must reattest instead of renew",
                agentReason: .mustReattest)
            throw self.refused(error, id)
        }
        let svid = try await self.issueAgentSVID(
            id, publicKey, NodeOrigin(selectors: node.selectors), requestedBy: id.string)
        do {
            let stored = try await self.store.updateNode(id) {
                (node: inout AttestedNode) throws(ServerError) in
                if node.isBanned { throw Self.banned(id) }
                node.preparedSerial = svid.serial
                node.preparedExpiresAt = svid.expiresAt
            }
            guard stored != nil else { throw Self.notAttested(id) }
        } catch let error as ServerError {
            throw self.refused(error, id)
        }
        return svid
    }

    /// Records that an agent did not get its SVID renewed.
    private func refused(_ error: ServerError, _ id: SPIFFEID) -> ServerError {
        self.issuer.refuse(error, .x509, spiffeID: id, node: id, caller: id.string)
        return error
    }

    private func issueAgentSVID(
        _ id: SPIFFEID, _ publicKey: Certificate.PublicKey, _ origin: NodeOrigin,
        requestedBy: String
    ) async throws -> IssuedX509SVID {
        try await self.issuer.issue(
            X509Issuance(
                spiffeID: id, publicKey: publicKey, ttl: self.issuer.settings.agentTTL,
                origin: .agent(origin)),
            requestedBy: requestedBy)
    }

    // MARK: Callers

    /// Checks that a caller with this SVID is an agent in good standing.
    ///
    /// The certificate must be the agent's current one, or a renewed one that becomes current by this use.
    ///
    /// - Parameter serial: of the presented certificate, lower-case hex.
    /// - Throws: ``ServerError`` `permissionDenied` with the reason.
    package func authorize(_ id: SPIFFEID, serial: String, expiresAt: Int64) async throws {
        guard let node = self.directory.node(id) else { throw Self.notAttested(id) }
        if node.isBanned { throw Self.banned(id) }
        try self.checkRevocations(id, serial: serial)
        if expiresAt <= self.unixNow {
            throw ServerError(
                .permissionDenied, "agent \(id) SVID is expired", agentReason: .expired)
        }
        if node.serial == serial { return }
        // Without a renewed SVID the prepared serial is empty; nothing equals that.
        guard !serial.isEmpty, node.preparedSerial == serial else {
            throw ServerError(
                .permissionDenied, "agent \(id) SVID is not the active one", agentReason: .notActive
            )
        }
        let stored = try await self.store.updateNode(id) {
            (node: inout AttestedNode) throws(ServerError) in
            if node.isBanned { throw Self.banned(id) }
            guard node.preparedSerial == serial else { return }
            node.serial = node.preparedSerial
            node.expiresAt = node.preparedExpiresAt
            node.preparedSerial = ""
            node.preparedExpiresAt = 0
        }
        guard stored?.serial == serial else {
            throw ServerError(
                .permissionDenied, "agent \(id) SVID is not the active one", agentReason: .notActive
            )
        }
    }

    /// - Throws: ``ServerError`` `permissionDenied` while a revocation keeps the agent out.
    private func checkRevocations(_ id: SPIFFEID, serial: String? = nil) throws(ServerError) {
        if let refusal = self.directory.refusal(ofAgent: id, serial: serial, now: self.unixNow) {
            throw refusal
        }
    }

    // MARK: Operators

    package func node(_ id: SPIFFEID) -> AttestedNode? { self.directory.node(id) }

    /// The nodes that pass the filter, ordered by ID.
    package func list(_ filter: NodeFilter) -> [AttestedNode] {
        self.directory.nodes.filter(filter.matches)
    }

    /// - Throws: ``ServerError`` `notFound`.
    package func evict(_ id: SPIFFEID) async throws {
        guard try await self.store.deleteNode(id) else { throw Self.unknown(id) }
        self.logger.info("agent evicted", metadata: [LogKeys.agentID: "\(id)"])
    }

    /// - Throws: ``ServerError`` `notFound`.
    package func ban(_ id: SPIFFEID) async throws {
        let stored = try await self.store.updateNode(id) {
            (node: inout AttestedNode) throws(ServerError) in
            node.ban()
        }
        guard stored != nil else { throw Self.unknown(id) }
        self.logger.info("agent banned", metadata: [LogKeys.agentID: "\(id)"])
    }

    /// Keeps the version that an agent says it has.
    package func setVersion(_ version: String, of id: SPIFFEID) async throws {
        guard self.directory.node(id)?.agentVersion != version else { return }
        _ = try await self.store.updateNode(id) { (node: inout AttestedNode) throws(ServerError) in
            node.agentVersion = String(version.prefix(255))
        }
    }

    /// Removes nodes that expired longer ago than `age` seconds; banned ones stay.
    ///
    /// - Parameter includingTOFU: also those that cannot attest again.
    package func prune(expiredFor age: Int64, includingTOFU: Bool, limit: Int = 1_000) async throws
        -> Int
    {
        let bound = self.unixNow - age
        let gone = self.directory.nodes.filter { node in
            !node.isBanned && node.expiresAt < bound && (node.canReattest || includingTOFU)
        }
        for node in gone.prefix(limit) { _ = try await self.store.deleteNode(node.id) }
        return min(gone.count, limit)
    }

    /// Removes join tokens that have expired unused.
    package func pruneJoinTokens() async throws -> Int {
        try await self.store.pruneJoinTokens(expiredAt: self.unixNow)
    }

    private static func unknown(_ id: SPIFFEID) -> ServerError {
        ServerError(.notFound, "agent \(id) not found; \"agent list\" shows those that are")
    }

    private static func notAttested(_ id: SPIFFEID) -> ServerError {
        ServerError(.permissionDenied, "agent \(id) is not attested", agentReason: .notAttested)
    }

    private static func banned(_ id: SPIFFEID) -> ServerError {
        ServerError(.permissionDenied, "agent \(id) is banned", agentReason: .banned)
    }
}

/// Which nodes to list; all that is set must hold.
package struct NodeFilter: Sendable {
    package var attestationType: String?
    package var selectors: (set: Set<Selector>, match: SetMatch)?
    package var isBanned: Bool?
    package var canReattest: Bool?
    /// Unix seconds: only nodes whose SVID ends before.
    package var expiresBefore: Int64?

    package init() {}

    func matches(_ node: AttestedNode) -> Bool {
        if let attestationType, node.attestationType != attestationType { return false }
        if let isBanned, node.isBanned != isBanned { return false }
        if let canReattest, node.canReattest != canReattest { return false }
        if let expiresBefore, node.expiresAt >= expiresBefore { return false }
        if let selectors,
            !selectors.match.matches(record: Set(node.selectors), given: selectors.set)
        {
            return false
        }
        return true
    }
}
