import Foundation
import Logging
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import Testing
import X509

@testable import AgentCore

/// A process that ends when the test says so.
final class EndingProcess: ServedProcess {
    private struct State {
        var isAlive = true
        var action: (@Sendable () -> Void)?
        var watches = 0
    }

    let pid: Int32
    let startTime: UInt64
    let uid: UInt32 = 1000
    let tellsEnd: Bool
    private let state = NIOLockedValueBox(State())

    init(_ pid: Int32, startTime: UInt64 = 1, tellsEnd: Bool = true, isAlive: Bool = true) {
        self.pid = pid
        self.startTime = startTime
        self.tellsEnd = tellsEnd
        self.state.withLockedValue { $0.isAlive = isAlive }
    }

    var isAlive: Bool { self.state.withLockedValue { $0.isAlive } }
    var watches: Int { self.state.withLockedValue { $0.watches } }
    func isConnector(_ now: ProcessFingerprint) -> Bool { true }
    func fingerprint() -> ProcessFingerprint? { nil }

    func watchEnd(_ action: @escaping @Sendable () -> Void) -> (any Sendable)? {
        let isAlive = self.state.withLockedValue { state in
            state.watches += 1
            state.action = action
            return state.isAlive
        }
        if !self.tellsEnd { return nil }
        if !isAlive { action() }
        return self
    }

    func end() {
        let action = self.state.withLockedValue { state in
            state.isAlive = false
            return state.action
        }
        if self.tellsEnd { action?() }
    }
}

/// The agent's memory, and a server that signs by hand.
final class EndingSession {
    let authority: TestAuthority
    let identities: WorkloadIdentities
    let now: NIOLockedValueBox<Date>

    /// - Parameters:
    ///   - store: Where processes are recorded.
    ///   - hold: Which of the processes on record live.
    init(
        _ entries: [AuthorizedEntry], store: (any ServedProcessStore)? = nil,
        hold: (Int32) -> (any ServedProcess)? = { _ in nil }
    ) throws {
        let authority = try TestAuthority()
        let now = NIOLockedValueBox(Date())
        self.authority = authority
        self.now = now
        self.identities = WorkloadIdentities(
            trustDomain: acme, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            now: { now.withLockedValue { $0 } }, servedStore: store)
        self.identities.restoreServed(hold)
        _ = self.identities.begin(isPush: true)
        self.identities.receive(.bundles(BundleChange(upserted: [authority.bundle()])))
        self.identities.receive(.entries(EntryChange(isSnapshot: true, upserted: entries)))
    }

    /// What is to be sent: reports, and requests for X509- and JWT-SVIDs.
    func requests() -> (
        ends: [(id: UInt64, entry: String)], x509: [SessionRequest.X509], jwt: [UInt64]
    ) {
        var ends: [(id: UInt64, entry: String)] = []
        var x509: [SessionRequest.X509] = []
        var jwt: [UInt64] = []
        for request in self.identities.takeRequests(limit: 100) {
            switch request {
            case .workloadEnd(let id, let entryID): ends.append((id, entryID))
            case .x509(let batch): x509 += batch
            case .jwt(let id, _, _): jwt.append(id)
            default: break
            }
        }
        return (ends, x509, jwt)
    }

    /// Signs all that is asked for.
    func sign() throws {
        for request in self.requests().x509 {
            let chain = try self.authority.sign(
                try SPIFFEID("spiffe://acme.test/w/\(request.entryID)"),
                request.key.privateKey.publicKey)
            self.identities.receive(.x509(requestID: request.requestID, .success(chain)))
        }
    }

    /// Answers the requests for tokens with this one.
    ///
    /// - Returns: Whether there were any.
    func answerTokens(_ token: String) throws -> Bool {
        let ids = self.requests().jwt
        let svid = IssuedJWTSVID(
            spiffeID: try SPIFFEID("spiffe://acme.test/w/a"), token: token, issuedAt: Date(),
            expiresAt: Date().addingTimeInterval(300), keyID: nil)
        for id in ids { self.identities.receive(.jwt(requestID: id, .success(svid))) }
        return !ids.isEmpty
    }

    func confirm(_ id: UInt64) {
        self.identities.receive(.workloadEnd(requestID: id, .success(())))
    }

    /// A stream; the newest view is kept.
    func listen(_ selector: String = "unix:uid:1") throws -> EndingViews {
        let views = EndingViews()
        let (id, first) = self.identities.subscribe(.x509SVIDs, try selectors(selector)) {
            views.hear($0)
        }
        views.subscription = id
        if let first { views.hear(first) }
        return views
    }

    /// A stream whose process is given what there is.
    func serve(_ process: EndingProcess, _ selector: String = "unix:uid:1") throws -> EndingViews {
        let views = try self.listen(selector)
        try self.sign()
        let view = try #require(views.last)
        #expect(try self.identities.hand(view, to: process) == .handed)
        return views
    }
}

final class EndingViews: Sendable {
    private let state = NIOLockedValueBox<(view: X509View?, id: SVIDCache.SubscriberID)>((nil, 0))

    func hear(_ delivery: SVIDCache.Delivery) {
        if case .x509(let view) = delivery { self.state.withLockedValue { $0.view = view } }
    }

    var last: X509View? { self.state.withLockedValue { $0.view } }
    var serials: [String] { self.last?.identities.map { "\($0.svid.serialNumber)" } ?? [] }
    var subscription: SVIDCache.SubscriberID {
        get { self.state.withLockedValue { $0.id } }
        set { self.state.withLockedValue { $0.id = newValue } }
    }
}
