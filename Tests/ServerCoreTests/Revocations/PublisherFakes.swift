import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerTestSupport

/// What is taken back, as the test says.
final class ScriptedRevocations: RevokedSVIDs {
    struct Content: Sendable {
        var certificates: [String: [RevokedCertificate]] = [:]
        var tokens: Set<[UInt8]> = []
        var statuses: [Int64: Bool] = [:]
    }

    private let content = NIOLockedValueBox(Content())
    private let listeners = NIOLockedValueBox<[@Sendable () -> Void]>([])

    func change(_ body: (inout Content) -> Void) {
        self.content.withLockedValue { body(&$0) }
        for listener in self.listeners.withLockedValue({ $0 }) { listener() }
    }

    func revokedCertificates(authorityID: String) -> [RevokedCertificate] {
        self.content.withLockedValue { $0.certificates[authorityID] ?? [] }
    }
    func revokedTokens() -> Set<[UInt8]> { self.content.withLockedValue { $0.tokens } }
    func revokedStatuses() -> [Int64: Bool] { self.content.withLockedValue { $0.statuses } }
    func onChange(_ body: @escaping @Sendable () -> Void) {
        self.listeners.withLockedValue { $0.append(body) }
    }
}

/// Keeps what it is told, and lets a test wait for it.
final class RecordingAudience: RevocationAudience {
    struct Told: Sendable {
        let revocations: TrustDomainLists
        let number: UInt64
    }

    private let all = NIOLockedValueBox<[Told]>([])
    let stream: AsyncStream<Told>
    private let continuation: AsyncStream<Told>.Continuation

    init() { (self.stream, self.continuation) = AsyncStream<Told>.makeStream() }

    var told: [Told] { self.all.withLockedValue { $0 } }

    func publish(_ revocations: TrustDomainLists, number: UInt64) {
        let told = Told(revocations: revocations, number: number)
        self.all.withLockedValue { $0.append(told) }
        self.continuation.yield(told)
    }
}

/// Authorities that cannot be had when the test says so.
final class FaultyAuthorities: ListAuthorities {
    struct Broken: Error {}

    private struct State {
        var broken: Set<String> = []
        var jwtIsBroken = false
    }

    private let authorities: AuthorityManager
    private let state = NIOLockedValueBox(State())

    init(_ authorities: AuthorityManager) { self.authorities = authorities }

    func breakCRL(of ids: Set<String>) { self.state.withLockedValue { $0.broken = ids } }
    func breakStatusList(_ isBroken: Bool) {
        self.state.withLockedValue { $0.jwtIsBroken = isBroken }
    }

    var crlAuthorityIDs: Set<String> { self.authorities.crlAuthorityIDs }
    func crlAuthority(_ id: String) async throws -> X509Authority? {
        if self.state.withLockedValue({ $0.broken.contains(id) }) { throw Broken() }
        return try await self.authorities.crlAuthority(id)
    }
    func statusListAuthority() throws(ServerError) -> JWTAuthority {
        if self.state.withLockedValue({ $0.jwtIsBroken }) {
            throw ServerError(.unavailable, "broken")
        }
        return try self.authorities.statusListAuthority()
    }
    func onAuthorityChange(_ body: @escaping @Sendable () -> Void) {
        self.authorities.onAuthorityChange(body)
    }
}
