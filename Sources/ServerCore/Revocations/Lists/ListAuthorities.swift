import NIOConcurrencyHelpers

/// The authorities that sign lists of what was taken back.
package protocol ListAuthorities: Sendable {
    /// The IDs of the X.509 authorities that sign certificates, will, or have signed some that may be live; those that
    /// are tainted too, until they are revoked.
    var crlAuthorityIDs: Set<String> { get }

    /// The X.509 authority with that ID, with its key.
    ///
    /// - Returns: nil when its key is not there any more.
    /// - Throws: when the key manager cannot be asked.
    func crlAuthority(_ id: String) async throws -> X509Authority?

    /// The JWT authority that signs the status list now.
    ///
    /// - Throws: ``ServerError`` when there is none.
    func statusListAuthority() throws(ServerError) -> JWTAuthority

    /// Has `body` called after each change of the authorities; it must be quick.
    func onAuthorityChange(_ body: @escaping @Sendable () -> Void)
}

extension AuthorityManager: ListAuthorities {
    package var crlAuthorityIDs: Set<String> {
        let now = self.unixNow
        return Set(
            self.crlEntries.filter { $0.notAfter > now }.map(\.authorityID))
    }

    package func crlAuthority(_ id: String) async throws -> X509Authority? {
        let (signing, entry) = self.state.withLockedValue { state in
            (state.authorities[id], Self.crlEntries(state).first { $0.authorityID == id })
        }
        if case .x509(let authority)? = signing { return authority }
        guard let entry, case .x509(let authority)? = try await self.maker.restore(entry) else {
            return nil
        }
        return authority
    }

    package func statusListAuthority() throws(ServerError) -> JWTAuthority {
        try self.jwtAuthority()
    }

    package func onAuthorityChange(_ body: @escaping @Sendable () -> Void) {
        self.observers.withLockedValue { $0.append(body) }
    }

    private var crlEntries: [JournalEntry] { self.state.withLockedValue { Self.crlEntries($0) } }

    /// All but those that go out of the bundle.
    private static func crlEntries(_ state: State) -> [JournalEntry] {
        let lifecycle = state[.x509]
        return [lifecycle.current, lifecycle.prepared].compactMap { $0 } + lifecycle.old
    }
}
