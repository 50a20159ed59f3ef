package import SPIFFE

/// The classes of callers that a method may be open to.
package enum CallerClass: String, Sendable, CaseIterable {
    case any, local, admin, agent, downstream
}

/// Who makes a call, as far as the connection proves it.
package enum Caller: Sendable, Hashable {
    /// A process on the admin socket.
    case local(uid: UInt32, pid: Int32)
    /// A verified X509-SVID; serial in lower-case hex, expiry in Unix seconds.
    case svid(SPIFFEID, serial: String, expiresAt: Int64)
    /// No certificate.
    case anonymous

    /// For logs and records: a SPIFFE ID, `uid:<n>` or `anonymous`.
    package var name: String {
        switch self {
        case .local(let uid, _): "uid:\(uid)"
        case .svid(let id, _, _): id.string
        case .anonymous: "anonymous"
        }
    }
}

/// A caller that was let through, and as what.
package struct AuthorizedCaller: Sendable {
    package let caller: Caller
    package let authorizedAs: CallerClass

    package init(caller: Caller, authorizedAs: CallerClass) {
        self.caller = caller
        self.authorizedAs = authorizedAs
    }

    /// The agent's ID when the caller was let through as an agent.
    package var agentID: SPIFFEID? {
        guard self.authorizedAs == .agent, case .svid(let id, _, _) = self.caller else {
            return nil
        }
        return id
    }
}

/// Which classes may call which method, and the check.
///
/// One table, by full method name; a method that is not in it is open to nobody. The checks run in the order
/// any, local, admin, agent, downstream and stop at the first success.
package struct CallerPolicy: Sendable {
    private let methods: [String: [CallerClass]]
    private let adminIDs: Set<SPIFFEID>
    private let directory: Directory
    private let nodes: NodeRegistry
    private let revocation: @Sendable (String) -> Revocation?

    /// - Parameter revocation: the one that has taken back the X509-SVID with that serial number.
    package init(
        methods: [String: [CallerClass]], adminIDs: Set<SPIFFEID>, directory: Directory,
        nodes: NodeRegistry, revocation: @escaping @Sendable (String) -> Revocation? = { _ in nil }
    ) {
        self.methods = methods
        self.adminIDs = adminIDs
        self.directory = directory
        self.nodes = nodes
        self.revocation = revocation
    }

    /// - Parameter method: such as `spire.api.server.entry.v1.Entry/ListEntries`.
    /// - Throws: ``ServerError`` `permissionDenied`, with the agent's reason when it was refused as one.
    package func authorize(_ caller: Caller, method: String) async throws -> AuthorizedCaller {
        let classes = self.methods[method] ?? []
        if classes.contains(.any) { return AuthorizedCaller(caller: caller, authorizedAs: .any) }
        switch caller {
        case .local:
            if classes.contains(.local) {
                return AuthorizedCaller(caller: caller, authorizedAs: .local)
            }
        case .svid(let id, let serial, let expiresAt):
            if classes.contains(.admin), self.isAdmin(id) {
                try self.checkRevocations(id, serial, method)
                return AuthorizedCaller(caller: caller, authorizedAs: .admin)
            }
            if classes.contains(.agent) {
                do {
                    try await self.nodes.authorize(id, serial: serial, expiresAt: expiresAt)
                    if let revocation = self.revocation(serial), revocation.blocks {
                        throw revocation.refusal(ofAgent: id)
                    }
                    return AuthorizedCaller(caller: caller, authorizedAs: .agent)
                } catch let error as ServerError where error.agentReason != nil {
                    throw ServerError(
                        .permissionDenied,
                        "authorization denied for method /\(method): \(error.message)",
                        agentReason: error.agentReason)
                }
            }
            if classes.contains(.downstream), self.directory.withEntries({ $0.isDownstream(id) }) {
                try self.checkRevocations(id, serial, method)
                return AuthorizedCaller(caller: caller, authorizedAs: .downstream)
            }
        case .anonymous: break
        }
        throw ServerError(.permissionDenied, "authorization denied for method /\(method)")
    }

    /// For callers that are no agents: an agent whose SVID is to be replaced must get through to have that done.
    private func checkRevocations(
        _ id: SPIFFEID, _ serial: String, _ method: String
    ) throws(ServerError) {
        guard let revocation = self.revocation(serial) else { return }
        throw ServerError(
            .permissionDenied,
            "authorization denied for method /\(method): the X509-SVID of \(id) is revoked by revocation \(revocation.id)"
        )
    }

    private func isAdmin(_ id: SPIFFEID) -> Bool {
        self.adminIDs.contains(id) || self.directory.withEntries { $0.isAdmin(id) }
    }
}
