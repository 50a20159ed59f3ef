import GRPCCore
import SPIFFE
import SPIFFEWorkloadAPI
import Testing
import WorkloadAPIProto

@Suite("X.509 source", .timeLimit(.minutes(1))) struct X509SourceTests {
    /// A source beside a fake whose first stream is fed by the test; later streams run `later`.
    private func withFedSource(
        choosing picker: X509SVIDPicker = .first,
        later: @escaping FakeWorkloadAPI.X509Stream = { _, _ in try await FakeWorkloadAPI.hold() },
        first: X509SVIDResponse,
        _ body: (
            X509Source, AsyncThrowingStream<X509SVIDResponse, any Error>.Continuation, CallRecord
        ) async throws -> Void
    ) async throws {
        let (feed, continuation) = AsyncThrowingStream.makeStream(of: X509SVIDResponse.self)
        continuation.yield(first)
        let fake = FakeWorkloadAPI(x509: { attempt, writer in
            if attempt > 0 { return try await later(attempt, writer) }
            try await FakeWorkloadAPI.feed(feed, to: writer)
        })
        let socket = TestSocket()
        try await socket.serving(fake) {
            try await withX509Source(
                address: try socket.address(), choosing: picker, readyWithin: patience,
                configuration: quick
            ) { try await body($0, continuation, fake.record) }
        }
    }

    @Test("WAPI-07: one stream brings rotations; each replaces the one before")
    func rotation() async throws {
        let authority = try TestAuthority("acme.test")
        let second = try authority.message()
        try await self.withFedSource(first: try authority.message()) { source, feed, record in
            var updates = source.updates.makeAsyncIterator()
            let before = try #require(await updates.next()).svids[0]
            #expect(try source.x509SVID() == before)
            feed.yield(second)
            let after = try #require(await updates.next()).svids[0]
            #expect(after != before)
            #expect(try source.x509SVID() == after)
            #expect(record.count("FetchX509SVID") == 1)
        }
    }

    @Test("WAPI-12, WAPI-13, WAPI-30: a bundle that is left out is not used any more")
    func redactedBundle() async throws {
        let authority = try TestAuthority("acme.test")
        let partner = try TestAuthority("partner.test")
        let alone = try authority.message()
        try await self.withFedSource(
            first: try authority.message(federated: [partner])
        ) { source, feed, _ in
            var updates = source.updates.makeAsyncIterator()
            _ = await updates.next()
            #expect(
                source.x509Bundle(for: partner.trustDomain)?.authoritiesDER == [partner.rootDER])
            #expect(source.x509Bundle(for: authority.trustDomain) != nil)
            feed.yield(alone)
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
        let again = try authority.message()
        let (gate, open) = AsyncStream.makeStream(of: Void.self)
        try await self.withFedSource(
            later: { _, writer in
                for await _ in gate { break }
                try await writer.write(again)
                try await FakeWorkloadAPI.hold()
            }, first: try authority.message()
        ) { source, feed, _ in
            var updates = source.updates.makeAsyncIterator()
            _ = await updates.next()
            feed.finish(throwing: RPCError(code: .permissionDenied, message: "no identity issued"))
            #expect(await updates.next() == .empty)
            let error = try #require(throws: WorkloadAPIError.self) { try source.x509SVID() }
            #expect(error.code == .noIdentity)
            #expect(source.x509Bundle(for: authority.trustDomain) == nil)
            open.yield()
            #expect(await updates.next()?.svids.count == 1)
            _ = try source.x509SVID()
        }
    }

    @Test("WAPI-27: Unavailable keeps what is there; WEP-17: and the stream comes back")
    func unavailable() async throws {
        let authority = try TestAuthority("acme.test")
        let again = try authority.message()
        let (gate, open) = AsyncStream.makeStream(of: Void.self)
        let (arrivals, arrived) = AsyncStream.makeStream(of: Void.self)
        try await self.withFedSource(
            later: { attempt, writer in
                if attempt < 3 { throw RPCError(code: .unavailable, message: "later") }
                arrived.yield()
                for await _ in gate { break }
                try await writer.write(again)
                try await FakeWorkloadAPI.hold()
            }, first: try authority.message()
        ) { source, feed, _ in
            var updates = source.updates.makeAsyncIterator()
            let before = try #require(await updates.next()).svids[0]
            feed.finish(throwing: RPCError(code: .unavailable, message: "shedding load"))
            for await _ in arrivals { break }
            #expect(try source.x509SVID() == before)
            #expect(source.lastError?.code == .unavailable)
            #expect(source.x509Bundle(for: authority.trustDomain) != nil)
            open.yield()
            #expect(await updates.next()?.svids[0] != before)
            #expect(source.lastError == nil)
        }
    }

    @Test("WAPI-15: a bad message changes nothing")
    func badMessage() async throws {
        let authority = try TestAuthority("acme.test")
        let third = try authority.message()
        try await self.withFedSource(first: try authority.message()) { source, feed, record in
            var updates = source.updates.makeAsyncIterator()
            let before = try #require(await updates.next()).svids[0]
            feed.yield(X509SVIDResponse())
            feed.yield(third)
            // What comes next is the third message: the empty one in between was no update.
            let next = try #require(await updates.next())
            #expect(next.svids.count == 1 && next.svids[0] != before)
            #expect(record.count("FetchX509SVID") == 1)
        }
    }

    @Test("WAPI-08: a stream that ends cleanly is opened again, the state kept")
    func cleanEnd() async throws {
        let authority = try TestAuthority("acme.test")
        let again = try authority.message()
        try await self.withFedSource(
            later: { _, writer in
                try await writer.write(again)
                try await FakeWorkloadAPI.hold()
            }, first: try authority.message()
        ) { source, feed, record in
            var updates = source.updates.makeAsyncIterator()
            let before = try #require(await updates.next()).svids[0]
            feed.finish()
            #expect(await updates.next()?.svids[0] != before)
            #expect(record.count("FetchX509SVID") == 2)
        }
    }

    @Test(
        "WEP-15, WEP-20: InvalidArgument and Unimplemented are reported after one attempt",
        arguments: [
            (RPCError.Code.invalidArgument, WorkloadAPIError.Code.invalidRequest),
            (.unimplemented, .notSupported),
        ])
    func noRetry(status: RPCError.Code, code: WorkloadAPIError.Code) async throws {
        let fake = FakeWorkloadAPI(x509: { _, _ in throw RPCError(code: status, message: "no") })
        let socket = TestSocket()
        try await socket.serving(fake) {
            let source = try X509Source(address: try socket.address(), configuration: quick)
            let error = try await #require(throws: WorkloadAPIError.self) { try await source.run() }
            #expect(error.code == code)
            let read = try #require(throws: WorkloadAPIError.self) { try source.x509SVID() }
            #expect(read.code == code)
            let ready = try await #require(throws: WorkloadAPIError.self) {
                try await source.ready()
            }
            #expect(ready.code == code)
        }
        #expect(fake.record.count("FetchX509SVID") == 1)
    }

    @Test("WEP-17: a socket that appears later is found")
    func socketAppears() async throws {
        let message = try TestAuthority("acme.test").message()
        let fake = FakeWorkloadAPI(x509: { _, writer in
            try await writer.write(message)
            try await FakeWorkloadAPI.hold()
        })
        let socket = TestSocket()
        let source = try X509Source(address: try socket.address(), configuration: quick)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await source.run() }
            let error = try await #require(throws: WorkloadAPIError.self) {
                try await source.ready(within: patience)
            }
            #expect(error.code == .unavailable)
            try await socket.serving(fake) { try await source.ready(within: patience) }
        }
    }

    @Test("After the wait the reason is reported: no identity")
    func noIdentityInTime() async throws {
        let fake = FakeWorkloadAPI(x509: { _, _ in
            throw RPCError(code: .permissionDenied, message: "no identity issued")
        })
        let socket = TestSocket()
        try await socket.serving(fake) {
            let error = try await #require(throws: WorkloadAPIError.self) {
                try await withX509Source(
                    address: try socket.address(), readyWithin: .seconds(5),
                    configuration: quick
                ) { _ in Issue.record("the body ran without identity") }
            }
            #expect(error.code == .noIdentity)
        }
        #expect(fake.record.count("FetchX509SVID") > 1)
    }

    @Test(
        "WAPI-48: the identity is chosen by hint, by ID or by a closure; without a match there is none"
    )
    func picking() async throws {
        let authority = try TestAuthority("acme.test")
        var message = X509SVIDResponse()
        message.svids = [
            try authority.entry("/a", hint: "internal"),
            try authority.entry("/b", hint: "external"),
        ]
        let id = try SPIFFEID("spiffe://acme.test/b")
        let rows: [(X509SVIDPicker, String?)] = [
            (.first, "/a"), (.hint("external"), "/b"), (.id(id), "/b"),
            (X509SVIDPicker { $0.last }, "/b"), (.hint("absent"), nil),
            (X509SVIDPicker { _ in nil }, nil),
        ]
        for (picker, path) in rows {
            try await self.withFedSource(choosing: picker, first: message) { source, _, _ in
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
        let unused = try X509Source(address: try TestSocket().address(), configuration: quick)
        let early = try #require(throws: WorkloadAPIError.self) { try unused.x509SVID() }
        #expect(early.code == .notReady)
        let kept = Recorder<X509Source>()
        try await self.withFedSource(first: try authority.message()) { source, _, _ in
            kept.append(source)
        }
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
        let messages = try (0..<5).map { _ in try authority.message() }
        try await self.withFedSource(first: try authority.message()) { source, feed, _ in
            var fast = source.updates.makeAsyncIterator()
            var slow = source.updates.makeAsyncIterator()
            _ = await fast.next()
            for message in messages {
                feed.yield(message)
                _ = await fast.next()
            }
            let newest = try source.x509SVID()
            #expect(await slow.next()?.svids == [newest])
        }
    }
}
