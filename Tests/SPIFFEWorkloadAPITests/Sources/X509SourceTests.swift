import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing
import WorkloadAPIProto

@Suite("X.509 source", .timeLimit(.minutes(1))) struct X509SourceTests {
    /// A source beside a fake that has sent a first state.
    private func withSource(
        choosing picker: X509SVIDPicker = .first, _ first: X509Context,
        _ body: (X509Source, FakeWorkloadAPI) async throws -> Void
    ) async throws {
        let fake = try FakeWorkloadAPI()
        fake.set(x509: first)
        try await fake.serving {
            try await withX509Source(
                address: fake.address, choosing: picker, readyWithin: patience,
                configuration: quick
            ) { try await body($0, fake) }
        }
    }

    @Test("WAPI-07: one stream brings rotations; each replaces the one before")
    func rotation() async throws {
        let authority = try TestAuthority("acme.test")
        try await self.withSource(try authority.context()) { source, fake in
            var updates = source.updates.makeAsyncIterator()
            let before = try #require(await updates.next()).svids[0]
            #expect(try source.x509SVID() == before)
            fake.set(x509: try authority.context())
            let after = try #require(await updates.next()).svids[0]
            #expect(after != before)
            #expect(try source.x509SVID() == after)
            #expect(fake.callCount(of: .fetchX509SVID) == 1)
        }
    }

    @Test("WAPI-12, WAPI-13, WAPI-30: a bundle that is left out is not used any more")
    func redactedBundle() async throws {
        let authority = try TestAuthority("acme.test")
        let partner = try TestAuthority("partner.test")
        try await self.withSource(try authority.context(federated: [partner])) { source, fake in
            var updates = source.updates.makeAsyncIterator()
            _ = await updates.next()
            #expect(
                source.x509Bundle(for: partner.trustDomain)?.concatenatedDER
                    == (try partner.rootDER))
            #expect(source.x509Bundle(for: authority.trustDomain) != nil)
            fake.set(x509: try authority.context())
            _ = await updates.next()
            #expect(source.x509Bundle(for: partner.trustDomain) == nil)
            #expect(source.x509Bundle(for: authority.trustDomain) != nil)
        }
    }

    @Test(
        "WAPI-27, WAPI-30, WEP-19: PermissionDenied withdraws everything, and a new answer restores it"
    )
    func permissionDenied() async throws {
        let authority = try TestAuthority("acme.test")
        try await self.withSource(try authority.context()) { source, fake in
            var updates = source.updates.makeAsyncIterator()
            _ = await updates.next()
            fake.set(x509: .empty)
            #expect(await updates.next() == .empty)
            let error = try #require(throws: WorkloadAPIError.self) { try source.x509SVID() }
            #expect(error.code == .noIdentity)
            #expect(source.x509Bundle(for: authority.trustDomain) == nil)
            fake.set(x509: try authority.context())
            #expect(await updates.next()?.svids.count == 1)
            _ = try source.x509SVID()
        }
    }

    @Test("WAPI-27: Unavailable keeps what is there; WEP-17: and the stream comes back")
    func unavailable() async throws {
        let authority = try TestAuthority("acme.test")
        try await self.withSource(try authority.context()) { source, fake in
            var updates = source.updates.makeAsyncIterator()
            let before = try #require(await updates.next()).svids[0]
            fake.fail(.fetchX509SVID, with: .unavailable)
            await fake.waitForCalls(of: .fetchX509SVID, atLeast: 4)
            #expect(try source.x509SVID() == before)
            #expect(source.lastError?.code == .unavailable)
            #expect(source.x509Bundle(for: authority.trustDomain) != nil)
            fake.set(x509: try authority.context())
            fake.recover(.fetchX509SVID)
            #expect(await updates.next()?.svids[0] != before)
            #expect(source.lastError == nil)
        }
    }

    @Test("WAPI-15: a bad message changes nothing")
    func badMessage() async throws {
        let authority = try TestAuthority("acme.test")
        try await self.withSource(try authority.context()) { source, fake in
            var updates = source.updates.makeAsyncIterator()
            let before = try #require(await updates.next()).svids[0]
            fake.send(X509SVIDResponse())
            fake.set(x509: try authority.context())
            // What comes next is the third message: the empty one in between was no update.
            let next = try #require(await updates.next())
            #expect(next.svids.count == 1 && next.svids[0] != before)
            #expect(fake.callCount(of: .fetchX509SVID) == 1)
        }
    }

    @Test("WAPI-08: a stream that ends cleanly is opened again, the state kept")
    func cleanEnd() async throws {
        let authority = try TestAuthority("acme.test")
        try await self.withSource(try authority.context()) { source, fake in
            var updates = source.updates.makeAsyncIterator()
            let before = try #require(await updates.next()).svids[0]
            fake.endStreams(.fetchX509SVID)
            await fake.waitForCalls(of: .fetchX509SVID, atLeast: 2)
            #expect(try source.x509SVID() == before)
            fake.set(x509: try authority.context())
            while let next = await updates.next() {
                if next.svids[0] != before { break }
            }
            #expect(try source.x509SVID() != before)
            #expect(fake.callCount(of: .fetchX509SVID) == 2)
        }
    }

    @Test(
        "WEP-15, WEP-20: InvalidArgument and Unimplemented are reported after one attempt",
        arguments: [
            (FakeWorkloadAPI.Failure.invalidRequest, WorkloadAPIError.Code.invalidRequest),
            (.notSupported, .notSupported),
        ])
    func noRetry(failure: FakeWorkloadAPI.Failure, code: WorkloadAPIError.Code) async throws {
        let fake = try FakeWorkloadAPI()
        fake.fail(.fetchX509SVID, with: failure)
        try await fake.serving {
            let source = try X509Source(address: fake.address, configuration: quick)
            let error = try await #require(throws: WorkloadAPIError.self) { try await source.run() }
            #expect(error.code == code)
            let read = try #require(throws: WorkloadAPIError.self) { try source.x509SVID() }
            #expect(read.code == code)
            let ready = try await #require(throws: WorkloadAPIError.self) {
                try await source.ready()
            }
            #expect(ready.code == code)
        }
        #expect(fake.callCount(of: .fetchX509SVID) == 1)
    }

    @Test("WEP-17: a socket that appears later is found")
    func socketAppears() async throws {
        let fake = try FakeWorkloadAPI()
        fake.set(x509: try TestAuthority("acme.test").context())
        let source = try X509Source(address: fake.address, configuration: quick)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await source.run() }
            while source.lastError == nil { await Task.yield() }
            #expect(source.lastError?.code == .unavailable)
            try await fake.serving { try await source.ready(within: patience) }
        }
    }

    @Test("After the wait the reason is reported: no identity")
    func noIdentityInTime() async throws {
        let fake = try FakeWorkloadAPI()
        try await fake.serving {
            // On a busy machine an attempt may take longer than one wait.
            var codes: [WorkloadAPIError.Code] = []
            while codes.count < 20, codes.last != .noIdentity {
                let error = try await #require(throws: WorkloadAPIError.self) {
                    try await withX509Source(
                        address: fake.address, readyWithin: .seconds(5), configuration: quick
                    ) { _ in Issue.record("the body ran without identity") }
                }
                codes.append(error.code)
            }
            #expect(codes.last == .noIdentity)
            #expect(codes.allSatisfy { [.noIdentity, .deadlineExceeded].contains($0) })
        }
    }

    @Test(
        "WAPI-48: the identity is chosen by hint, by ID or by a closure; without a match there is none"
    )
    func picking() async throws {
        let authority = try TestAuthority("acme.test")
        let context = X509Context(
            svids: [
                try authority.x509SVID("/a", hint: "internal"),
                try authority.x509SVID("/b", hint: "external"),
            ], bundles: X509BundleSet([try authority.x509Bundle]))
        let id = try SPIFFEID("spiffe://acme.test/b")
        let rows: [(X509SVIDPicker, String?)] = [
            (.first, "/a"), (.hint("external"), "/b"), (.id(id), "/b"),
            (X509SVIDPicker { $0.last }, "/b"), (.hint("absent"), nil),
            (X509SVIDPicker { _ in nil }, nil),
        ]
        for (picker, path) in rows {
            try await self.withSource(choosing: picker, context) { source, _ in
                if let path {
                    #expect(try source.x509SVID().id.path == path)
                } else {
                    let error = try #require(throws: WorkloadAPIError.self) {
                        try source.x509SVID()
                    }
                    #expect(error.code == .noMatchingSVID)
                }
                #expect(try source.context().svids.count == 2)
            }
        }
    }

    @Test("Before the first update and after the end nothing is handed out")
    func outsideTheRun() async throws {
        let authority = try TestAuthority("acme.test")
        let unused = try X509Source(address: try FakeWorkloadAPI().address, configuration: quick)
        let early = try #require(throws: WorkloadAPIError.self) { try unused.x509SVID() }
        #expect(early.code == .notReady)
        let kept = Recorder<X509Source>()
        try await self.withSource(try authority.context()) { source, _ in kept.append(source) }
        let source = kept.all[0]
        let late = try #require(throws: WorkloadAPIError.self) { try source.x509SVID() }
        #expect(late.code == .stopped)
        #expect(source.x509Bundle(for: authority.trustDomain) == nil)
        for await _ in source.updates { Issue.record("an update after the end") }
        let again = try await #require(throws: WorkloadAPIError.self) { try await source.run() }
        #expect(again.code == .alreadyRunning)
    }

    @Test("A slow reader of the updates gets the newest state")
    func newestWins() async throws {
        let authority = try TestAuthority("acme.test")
        try await self.withSource(try authority.context()) { source, fake in
            var fast = source.updates.makeAsyncIterator()
            var slow = source.updates.makeAsyncIterator()
            _ = await fast.next()
            for _ in 0..<5 {
                fake.set(x509: try authority.context())
                _ = await fast.next()
            }
            let newest = try source.x509SVID()
            #expect(await slow.next()?.svids == [newest])
        }
    }
}
