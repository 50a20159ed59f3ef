import PluginAPI
import Plugins
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency
import X509

@Suite struct AuthorityOperatorTests {
    private static let kinds = JournalEntry.Kind.allCases
    private static let settings = AuthorityManager.Settings(issuesWITSVIDs: true)

    private static func plane(confirmation: Duration = .seconds(600)) async throws -> TestPlane {
        try await TestPlane(authority: self.settings, confirmation: confirmation)
    }

    /// Whether the authorities of that kind in the bundle are tainted, in the bundle's order.
    private static func taints(_ plane: TestPlane, _ kind: JournalEntry.Kind) throws -> [Bool] {
        let bundle = try #require(plane.directory.ownBundle)
        switch kind {
        case .x509: return bundle.x509Authorities.map(\.tainted)
        case .jwt: return bundle.jwtAuthorities.map(\.tainted)
        case .wit: return bundle.witAuthorities.map(\.tainted)
        }
    }

    private static func code(_ body: () async throws -> Void) async -> ServerError.Code? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? ServerError)?.code
        }
    }

    @Test(arguments: kinds)
    func `prepare, activate, taint, revoke: one after the other, each recorded with who asked`(
        kind: JournalEntry.Kind
    ) async throws {
        let plane = try await Self.plane()
        let manager = plane.authorities
        let first = try manager.overview(kind).active
        #expect(try manager.overview(kind).prepared == nil)
        #expect(try manager.overview(kind).old == nil)

        let second = try await manager.prepare(kind, requestedBy: "uid:7")
        #expect(second.id != first.id)
        #expect(try manager.overview(kind).active == first)
        #expect(try manager.overview(kind).prepared == second)
        #expect(try Self.taints(plane, kind) == [false, false])

        let activated = try await manager.activate(
            kind, authorityID: second.id, requestedBy: "uid:7")
        #expect(activated == second)
        #expect(try manager.overview(kind).active == second)
        #expect(try manager.overview(kind).old == first)
        #expect(try manager.overview(kind).prepared == nil)

        #expect(
            await Self.code {
                _ = try await manager.revoke(kind, authorityID: first.id, requestedBy: "uid:7")
            } == .failedPrecondition)
        #expect(
            try await manager.taint(kind, authorityID: first.id, requestedBy: "uid:7") == first)
        #expect(try Self.taints(plane, kind) == [true, false])
        let sequence = plane.directory.ownBundle?.sequenceNumber
        #expect(
            try await manager.taint(kind, authorityID: first.id, requestedBy: "uid:7") == first)
        #expect(plane.directory.ownBundle?.sequenceNumber == sequence)

        #expect(
            try await manager.revoke(kind, authorityID: first.id, requestedBy: "uid:7") == first)
        #expect(try Self.taints(plane, kind) == [false])
        #expect(try manager.overview(kind).old == nil)
        #expect(try await plane.keys.keyIDs().count == 3)
        let asked = plane.recorder.authorities.filter { $0.caller == "uid:7" }
        #expect(asked.map(\.action) == [.prepared, .activated, .retired, .tainted, .revoked])
        #expect(asked.map(\.subject) == [second.id, second.id, first.id, first.id, first.id])
        #expect(asked.allSatisfy { $0.authorityType?.rawValue == kind.rawValue })
        #expect(asked.allSatisfy { $0.contentDigest?.count == 32 && $0.seq == nil })
        #expect(
            await Self.code {
                _ = try await manager.revoke(kind, authorityID: first.id, requestedBy: "uid:7")
            } == .invalidArgument)
    }

    @Test(arguments: kinds)
    func `what does not fit the state is refused and changes nothing`(kind: JournalEntry.Kind)
        async throws
    {
        let plane = try await Self.plane()
        let manager = plane.authorities
        let active = try manager.overview(kind).active.id
        let prepared = try await manager.prepare(kind, requestedBy: "t").id
        let bundle = plane.directory.ownBundle
        let recorded = plane.recorder.events.count
        for id in ["", "nonsense", active] {
            #expect(
                await Self.code {
                    _ = try await manager.activate(kind, authorityID: id, requestedBy: "t")
                } == .invalidArgument, "activate \(id)")
        }
        for id in ["", "nonsense", active, prepared] {
            #expect(
                await Self.code {
                    _ = try await manager.taint(kind, authorityID: id, requestedBy: "t")
                } == .invalidArgument, "taint \(id)")
            #expect(
                await Self.code {
                    _ = try await manager.revoke(kind, authorityID: id, requestedBy: "t")
                } == .invalidArgument, "revoke \(id)")
        }
        #expect(plane.directory.ownBundle == bundle)
        #expect(plane.recorder.events.count == recorded)
        _ = try await manager.activate(kind, authorityID: prepared, requestedBy: "t")
        #expect(
            await Self.code {
                _ = try await manager.activate(kind, authorityID: active, requestedBy: "t")
            } == .failedPrecondition, "an old one never signs again")
        plane.clock.advance(by: 86_400 / 2)
        let late = try await manager.prepare(kind, requestedBy: "t").id
        plane.clock.advance(by: 86_400)
        #expect(
            await Self.code {
                _ = try await manager.activate(kind, authorityID: late, requestedBy: "t")
            } == .failedPrecondition, "an expired one never signs")
    }

    @Test func `kinds that are not issued have no authorities`() async throws {
        let plane = try await TestPlane(
            authority: AuthorityManager.Settings(issuesJWTSVIDs: false))
        for kind in [JournalEntry.Kind.jwt, .wit] {
            #expect(
                await Self.code { _ = try plane.authorities.overview(kind) } == .unimplemented)
            #expect(
                await Self.code {
                    _ = try await plane.authorities.prepare(kind, requestedBy: "t")
                } == .unimplemented)
        }
    }

    @Test(arguments: kinds)
    func `preparing never drops a live authority, however often it is asked for`(
        kind: JournalEntry.Kind
    ) async throws {
        let plane = try await Self.plane()
        let manager = plane.authorities
        var ids = [try manager.overview(kind).active.id]
        for _ in 0..<8 {
            let next = try await manager.prepare(kind, requestedBy: "t").id
            _ = try await manager.activate(kind, authorityID: next, requestedBy: "t")
            ids.append(next)
            #expect(try Self.taints(plane, kind).count == ids.count)
        }
        #expect(
            await Self.code { _ = try await manager.prepare(kind, requestedBy: "t") }
                == .failedPrecondition)
        // All of them, the oldest too, can still be taken back; also after a restart.
        let next = try await TestPlane(
            clock: plane.clock, authority: Self.settings, store: plane.store, keys: plane.keys)
        #expect(try next.authorities.overview(kind).active.id == ids.last)
        for id in ids.dropLast() {
            _ = try await next.authorities.taint(kind, authorityID: id, requestedBy: "t")
            _ = try await next.authorities.revoke(kind, authorityID: id, requestedBy: "t")
        }
        #expect(try Self.taints(next, kind) == [false])
        #expect(try await next.keys.keyIDs().count == 3)
    }

    @Test(arguments: kinds)
    func `a prepared authority that is replaced leaves the bundle and takes its key along`(
        kind: JournalEntry.Kind
    ) async throws {
        let plane = try await Self.plane()
        let manager = plane.authorities
        let active = try manager.overview(kind).active
        for _ in 0..<5 {
            let prepared = try await manager.prepare(kind, requestedBy: "t")
            #expect(try manager.overview(kind).prepared == prepared)
            #expect(try manager.overview(kind).active == active)
            #expect(try Self.taints(plane, kind).count == 2)
            #expect(try await plane.keys.keyIDs().count == 4)
        }
    }

    @Test func `an authority of the bundle that the journal does not know can be taken back`()
        async throws
    {
        let plane = try await Self.plane()
        _ = try await plane.store.updateBundle(plane.trustDomain) {
            $0.jwtAuthorities.append(.init(keyID: "stray", publicKeyDER: [1], expiresAt: 0))
        }
        _ = try await plane.authorities.taint(.jwt, authorityID: "stray", requestedBy: "t")
        #expect(try Self.taints(plane, .jwt) == [false, true])
        _ = try await plane.authorities.revoke(.jwt, authorityID: "stray", requestedBy: "t")
        #expect(try Self.taints(plane, .jwt) == [false])
    }

    @Test func `tainting replaces the server's own SVID before it returns`() async throws {
        let plane = try await Self.plane()
        let identity = ServerIdentity(
            issuer: plane.issuer, logger: TestPlane.logger, now: plane.clock.now)
        try await identity.rotate()
        plane.authorities.add(identity)
        let first = try plane.authorities.overview(.x509).active.id
        let second = try await plane.authorities.prepare(.x509, requestedBy: "t").id
        _ = try await plane.authorities.activate(.x509, authorityID: second, requestedBy: "t")
        #expect(try identity.x509SVID().leaf.authorityKeyID == first)
        plane.recorder.fail(nil)
        _ = try await plane.authorities.taint(.x509, authorityID: first, requestedBy: "t")
        #expect(try identity.x509SVID().leaf.authorityKeyID == second)
        let serial = try identity.x509SVID().leaf.serialNumber
        _ = try await plane.authorities.taint(.x509, authorityID: first, requestedBy: "t")
        #expect(try identity.x509SVID().leaf.serialNumber == serial)
    }

    @Test func `without a record nothing is prepared, activated, tainted or revoked`() async throws
    {
        let plane = try await Self.plane()
        let manager = plane.authorities
        let first = try manager.overview(.jwt).active.id
        let failure = ServerError(.unavailable, "disk is full")
        plane.recorder.fail(failure)
        await #expect(throws: failure) { try await manager.prepare(.jwt, requestedBy: "t") }
        plane.recorder.fail(nil)
        let second = try await manager.prepare(.jwt, requestedBy: "t").id
        plane.recorder.fail(failure)
        await #expect(throws: failure) {
            try await manager.activate(.jwt, authorityID: second, requestedBy: "t")
        }
        #expect(try manager.overview(.jwt).active.id == first)
        plane.recorder.fail(nil)
        _ = try await manager.activate(.jwt, authorityID: second, requestedBy: "t")
        plane.recorder.fail(failure)
        await #expect(throws: failure) {
            try await manager.taint(.jwt, authorityID: first, requestedBy: "t")
        }
        #expect(try Self.taints(plane, .jwt) == [false, false])
        plane.recorder.fail(nil)
        _ = try await manager.taint(.jwt, authorityID: first, requestedBy: "t")
        plane.recorder.fail(failure)
        await #expect(throws: failure) {
            try await manager.revoke(.jwt, authorityID: first, requestedBy: "t")
        }
        #expect(try Self.taints(plane, .jwt) == [true, false])
    }

    // MARK: Those who verify

    @Test func `an agent that has not confirmed the bundle is disconnected before others sign`()
        async throws
    {
        let plane = try await Self.plane(confirmation: .zero)
        let agent = try plane.id("/spire/agent/join_token/a")
        let slow = plane.directory.openSession(agent: agent, knownDigest: [])
        let prompt = plane.directory.openSession(
            agent: try plane.id("/spire/agent/join_token/b"), knownDigest: [])
        let second = try await plane.authorities.prepare(.x509, requestedBy: "t").id
        let sequence = try #require(plane.directory.ownBundle?.sequenceNumber)
        slow.confirm(bundle: sequence - 1, isReplaced: true)
        prompt.confirm(bundle: sequence, isReplaced: false)
        _ = try await plane.authorities.activate(.x509, authorityID: second, requestedBy: "t")
        let error = await #expect(throws: ServerError.self) { _ = try await slow.next() }
        #expect(error?.code == .unavailable)
        #expect(try await prompt.next()?.bundles.count == 1)
    }

    @Test func `an agent whose own SVID is of a revoked authority is disconnected`() async throws {
        let plane = try await Self.plane(confirmation: .zero)
        let first = try plane.authorities.overview(.x509).active.id
        let agent = try plane.id("/spire/agent/join_token/a")
        let session = plane.directory.openSession(
            agent: agent, knownDigest: [], x509AuthorityID: first)
        session.confirm(bundle: .max, isReplaced: true)
        let second = try await plane.authorities.prepare(.x509, requestedBy: "t").id
        let other = plane.directory.openSession(
            agent: try plane.id("/spire/agent/join_token/b"), knownDigest: [],
            x509AuthorityID: second)
        other.confirm(bundle: .max, isReplaced: true)
        _ = try await plane.authorities.activate(.x509, authorityID: second, requestedBy: "t")
        _ = try await plane.authorities.taint(.x509, authorityID: first, requestedBy: "t")
        #expect(try await session.next()?.bundles.first?.x509Authorities.count == 2)
        _ = try await plane.authorities.revoke(.x509, authorityID: first, requestedBy: "t")
        await #expect(throws: ServerError.self) { _ = try await session.next() }
        #expect(try await other.next()?.bundles.first?.x509Authorities.count == 1)
    }

    @Test func `a revocation goes on when the agents have replaced what rests on the authority`()
        async throws
    {
        let plane = try await Self.plane(confirmation: .seconds(600))
        let first = try plane.authorities.overview(.x509).active.id
        let second = try await plane.authorities.prepare(.x509, requestedBy: "t").id
        _ = try await plane.authorities.activate(.x509, authorityID: second, requestedBy: "t")
        _ = try await plane.authorities.taint(.x509, authorityID: first, requestedBy: "t")
        let agent = try plane.id("/spire/agent/join_token/a")
        let old = plane.directory.openSession(
            agent: agent, knownDigest: [], x509AuthorityID: first)
        old.confirm(bundle: .max, isReplaced: true)
        async let revoked = plane.authorities.revoke(
            .x509, authorityID: first, requestedBy: "t")
        // It comes back with a renewed SVID, and then it has replaced everything.
        let new = plane.directory.openSession(
            agent: agent, knownDigest: [], x509AuthorityID: second)
        plane.directory.closeSession(old)
        #expect(try Self.taints(plane, .x509) == [true, false])
        new.confirm(bundle: .max, isReplaced: true)
        #expect(try await revoked.id == first)
        #expect(try Self.taints(plane, .x509) == [false])
    }
}
