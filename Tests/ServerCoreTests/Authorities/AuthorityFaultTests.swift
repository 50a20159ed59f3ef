import PluginAPI
import Plugins
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftASN1
import Testing
import X509

/// What survives the processes of one server.
private struct Disk {
    let trustDomain: TrustDomain
    let store = MemoryStore()
    let keys = MemoryKeyManager()
    let recorder = MemoryRecorder()

    init() throws { self.trustDomain = try TrustDomain("acme.test") }

    /// Another process on the same disk, started.
    func start(_ faults: Faults = Faults()) async throws -> AuthorityManager {
        let store = FaultyStore(store: self.store, faults: faults)
        let manager = AuthorityManager(
            trustDomain: self.trustDomain, settings: .init(issuesWITSVIDs: true),
            keyManager: FaultyKeyManager(keys: self.keys, faults: faults), journal: store,
            bundles: store, recorder: FaultyRecorder(recorder: self.recorder, faults: faults),
            logger: TestPlane.logger, now: TestClock().now)
        try await manager.start(ownBundle: try await self.bundle())
        return manager
    }

    func bundle() async throws -> TrustBundle {
        try await self.store.updateBundle(self.trustDomain) { _ in }
    }

    /// IDs of the authorities of that kind in the bundle. The X.509 ones as openssl would name them.
    func published(_ kind: JournalEntry.Kind) async throws -> [String] {
        let bundle = try await self.bundle()
        switch kind {
        case .x509:
            return try bundle.x509Authorities.map { authority in
                let certificate = try Certificate(derEncoded: authority.der)
                let identifier = try #require(try certificate.extensions.subjectKeyIdentifier)
                return identifier.keyIdentifier.map { byte in
                    (byte < 16 ? "0" : "") + String(byte, radix: 16)
                }.joined()
            }
        case .jwt: return bundle.jwtAuthorities.map(\.keyID)
        case .wit: return bundle.witAuthorities.map(\.keyID)
        }
    }

    /// Journal, bundle and key manager hold the same authorities, and each that signs has its key.
    func check(_ manager: AuthorityManager) async throws {
        let journal = try await self.store.loadJournal()
        #expect(!journal.contains { $0.status == .withdrawn })
        #expect(try await self.keys.keyIDs().sorted() == journal.map(\.keyID).sorted())
        for kind in JournalEntry.Kind.allCases {
            let entries = journal.filter { $0.kind == kind }
            #expect(entries.filter { $0.status == .active }.count == 1)
            #expect(entries.filter { $0.status == .prepared }.count <= 1)
            #expect(try await self.published(kind).sorted() == entries.map(\.authorityID).sorted())
            #expect(Set(entries.map(\.slot)).count == entries.count)
            let active = try manager.overview(kind).active.id
            #expect(entries.first { $0.status == .active }?.authorityID == active)
        }
        let authority = try manager.x509Authority()
        #expect(authority.certificate.publicKey == authority.key.privateKey.publicKey)
    }
}

extension AuthorityManager {
    fileprivate func signing(_ kind: JournalEntry.Kind) throws -> String {
        switch kind {
        case .x509: try self.x509Authority().id
        case .jwt: try self.jwtAuthority().id
        case .wit: try self.witAuthority().id
        }
    }

    /// What an operator does who wants to be rid of an authority and looks at the state before each step.
    fileprivate func replace(_ kind: JournalEntry.Kind, _ id: String, on disk: Disk) async throws {
        if try self.overview(kind).active.id == id {
            var prepared = try self.overview(kind).prepared
            if prepared == nil { prepared = try await self.prepare(kind, requestedBy: "test") }
            let next = try #require(prepared)
            _ = try await self.activate(kind, authorityID: next.id, requestedBy: "test")
        }
        guard try await disk.published(kind).contains(id) else { return }
        _ = try await self.taint(kind, authorityID: id, requestedBy: "test")
        _ = try await self.revoke(kind, authorityID: id, requestedBy: "test")
    }
}

@Suite struct AuthorityFaultTests {
    /// Runs `body` once for each write that it makes, which breaks; and says how many there were.
    private static func eachWrite(
        _ form: Faults.Form, _ aftermath: Faults.Aftermath, _ body: (Faults) async throws -> Void
    ) async throws -> Int {
        for number in 1..<100 {
            let faults = Faults(number, form, aftermath)
            try await body(faults)
            if !faults.hasBroken { return number - 1 }
        }
        throw ServerError(.internal, "more writes than expected")
    }

    @Test(arguments: Faults.Form.allCases)
    func `a crash at any write of the first start leaves what the next start continues`(
        form: Faults.Form
    ) async throws {
        let writes = try await Self.eachWrite(form, .crash) { faults in
            let disk = try Disk()
            _ = try? await disk.start(faults)
            let manager = try await disk.start()
            try await disk.check(manager)
        }
        // Key, record, journal and bundle for the new authority; bundle, record and journal to let it sign.
        #expect(writes >= 3 * 7)
    }

    @Test(arguments: JournalEntry.Kind.allCases, Faults.Form.allCases)
    func `a crash at any write of a replacement leaves what the next start continues`(
        kind: JournalEntry.Kind, form: Faults.Form
    ) async throws {
        let writes = try await Self.eachWrite(form, .crash) { faults in
            let disk = try Disk()
            let id = try await disk.start().signing(kind)
            let manager = try await disk.start(faults)
            do {
                try await manager.replace(kind, id, on: disk)
            } catch {
                #expect(faults.hasBroken, "\(error)")
            }
            let next = try await disk.start()
            try await disk.check(next)
            try await next.replace(kind, id, on: disk)
            try await disk.check(next)
            #expect(try await disk.published(kind) == [try next.signing(kind)])
            #expect(try next.signing(kind) != id)
            #expect(try await disk.keys.keyIDs().count == 3)
        }
        #expect(writes >= 14)
    }

    @Test(arguments: JournalEntry.Kind.allCases, Faults.Form.allCases)
    func `a write that fails once is made good by asking again`(
        kind: JournalEntry.Kind, form: Faults.Form
    ) async throws {
        _ = try await Self.eachWrite(form, .recovery) { faults in
            let disk = try Disk()
            let id = try await disk.start().signing(kind)
            let manager = try await disk.start(faults)
            do {
                try await manager.replace(kind, id, on: disk)
            } catch {
                #expect(faults.hasBroken, "\(error)")
                // What `run` does, whatever the operator does.
                try await manager.rotate()
                try await manager.replace(kind, id, on: disk)
            }
            try await manager.rotate()
            try await disk.check(manager)
            #expect(try await disk.published(kind) == [try manager.signing(kind)])
            // And the next start finds the same.
            let next = try await disk.start()
            try await disk.check(next)
            #expect(try next.signing(kind) == (try manager.signing(kind)))
        }
    }

    @Test func `an authority signs only what those who hold the bundle can verify, at any crash`()
        async throws
    {
        for form in Faults.Form.allCases {
            _ = try await Self.eachWrite(form, .crash) { faults in
                let disk = try Disk()
                _ = try await disk.start()
                let manager = try await disk.start(faults)
                let prepared = try? await manager.prepare(.x509, requestedBy: "test")
                if let prepared {
                    _ = try? await manager.activate(
                        .x509, authorityID: prepared.id, requestedBy: "test")
                }
                for one in [manager, try await disk.start()] {
                    let authority = try one.x509Authority()
                    let published = try await disk.bundle().x509Authorities.map(\.der)
                    #expect(published.contains(authority.der))
                }
            }
        }
    }

    @Test func `the number of keys stays the same over 200 restarts`() async throws {
        let clock = TestClock()
        let first = try await TestPlane(clock: clock)
        let id = try first.authorities.x509Authority().id
        for _ in 0..<200 {
            let plane = try await TestPlane(clock: clock, store: first.store, keys: first.keys)
            #expect(try plane.authorities.x509Authority().id == id)
            #expect(try await first.keys.keyIDs().count == 2)
        }
    }

    @Test
    func `keys do not gather over 200 restarts with rotation and lost journals of authorities`()
        async throws
    {
        let clock = TestClock()
        let settings = AuthorityManager.Settings(authorityTTL: .seconds(600))
        let first = try await TestPlane(clock: clock, authority: settings)
        for round in 0..<200 {
            clock.advance(by: 60)
            if round % 50 == 49 { try await first.store.saveJournal([]) }
            // Left by a crash between key and journal.
            _ = try await first.keys.generateKey(id: "JWT-Signer-D", type: .ecP256)
            // Not ours: other parts of the program may keep keys in the same place.
            _ = try await first.keys.generateKey(id: "ledger", type: .ecP256)
            let plane = try await TestPlane(
                clock: clock, authority: settings, store: first.store, keys: first.keys)
            let ids = try await plane.keys.keyIDs()
            #expect(ids.contains("ledger"))
            #expect(ids.count <= 1 + 2 * 2, "\(ids)")
            #expect(
                Set(ids) == Set(try await plane.store.loadJournal().map(\.keyID) + ["ledger"]))
        }
    }
}
