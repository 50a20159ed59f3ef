import Crypto
import Foundation
import Logging
import NIOConcurrencyHelpers
import SPIFFE
import SwiftASN1
import Testing
import X509

@testable import AgentCore

extension TestAuthority {
    /// A list of this authority that takes back what has these serial numbers.
    func crl(_ svids: IssuedX509SVID...) throws -> [UInt8] {
        try self.crl(serialNumbers: svids.map(\.revocationName.serialNumber))
    }

    func crl(serialNumbers: [[UInt8]]) throws -> [UInt8] {
        func element(_ tag: UInt8, _ contents: [UInt8]) -> [UInt8] {
            let count = contents.count
            if count < 0x80 { return [tag, UInt8(count)] + contents }
            if count < 0x100 { return [tag, 0x81, UInt8(count)] + contents }
            return [tag, 0x82, UInt8(count >> 8), UInt8(count & 0xff)] + contents
        }
        let ecdsa = element(0x30, [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])
        let time = element(0x17, Array("260101000000Z".utf8))
        let end = element(0x17, Array("491231235959Z".utf8))
        var issuer = DER.Serializer()
        try issuer.serialize(self.certificate.subject)
        let revoked = serialNumbers.map { Array($0.drop { $0 == 0 }) }.flatMap { number in
            element(
                0x30, element(0x02, (number.first ?? 0) & 0x80 == 0 ? number : [0] + number) + time)
        }
        let keyID = SubjectKeyIdentifier(hash: self.certificate.publicKey).keyIdentifier
        let name = element(0x30, element(0x80, Array(keyID)))
        let identifier = element(0x30, [0x06, 0x03, 0x55, 0x1d, 0x23] + element(0x04, name))
        var signed = element(0x02, [1]) + ecdsa + issuer.serializedBytes + time + end
        if !revoked.isEmpty { signed += element(0x30, revoked) }
        signed = element(0x30, signed + element(0xa0, element(0x30, identifier)))
        let key = try P256.Signing.PrivateKey(
            pemRepresentation: self.key.serializeAsPEM().pemString)
        let signature = try key.signature(for: signed).derRepresentation
        return element(0x30, signed + ecdsa + element(0x03, [0] + Array(signature)))
    }
}

/// What one stream was told, in words.
private final class Listener: Sendable {
    private let lines = NIOLockedValueBox<[String]>([])
    private let views = NIOLockedValueBox<[X509View]>([])

    func hear(_ delivery: SVIDCache.Delivery) {
        switch delivery {
        case .x509(let view):
            self.views.withLockedValue { $0.append(view) }
            self.say("svids " + view.identities.map(\.entry.id).joined(separator: ","))
        case .wit(let view): self.say("wit \(view.identities.count)")
        case .bundles(let view): self.say("bundles with \(view.crls.count) crls")
        case .revocations(let view):
            self.say(
                "revocations "
                    + view.domains.map {
                        "\($0.trustDomain.name):\($0.crls.count):\($0.statusLists.count):\($0.revokedTokens.count)"
                    }.joined(separator: " "))
        case .limits(let view): self.say("limits of \(view.trustDomains.count)")
        case .end(let refusal): self.say("end \(refusal.code)")
        }
    }

    private func say(_ line: String) { self.lines.withLockedValue { $0.append(line) } }

    /// What came since the last call.
    func news() -> [String] {
        self.lines.withLockedValue { lines in
            defer { lines = [] }
            return lines
        }
    }

    var lastView: X509View? { self.views.withLockedValue { $0.last } }
}

extension TestSession {
    fileprivate func listen(_ kind: SVIDCache.Kind, _ selector: String = "unix:uid:1") throws
        -> Listener
    {
        let listener = Listener()
        let (_, first) = self.identities.subscribe(kind, try selectors(selector)) {
            listener.hear($0)
        }
        if let first { listener.hear(first) }
        return listener
    }

    fileprivate func refuse(_ requests: [SessionRequest.X509], code: Int) {
        for request in requests {
            self.identities.receive(
                .x509(
                    requestID: request.requestID,
                    .failure(IssuanceRefusal(code: code, message: "covered by revocation r1"))))
        }
    }

    fileprivate func revoke(
        _ number: UInt64, crls: [[UInt8]], tokens: [String] = [], of trustDomain: TrustDomain = acme
    ) {
        self.identities.receive(
            .revocations(
                RevocationChange(
                    upserted: [
                        DomainRevocations(
                            trustDomain: trustDomain, crls: crls,
                            revokedTokens: tokens.compactMap { SigningInputDigest(ofToken: $0) })
                    ], confirmation: number)))
    }
}

@Suite("Revoked SVIDs on the agent", .timeLimit(.minutes(1)))
struct RevocationTests {
    private func entries(_ ids: String...) throws -> [AuthorizedEntry] {
        try ids.map { try AuthorizedEntry.make($0, ["unix:uid:1"]) }
    }

    @Test("a revoked SVID is dropped, confirmed and renewed at once")
    func renews() throws {
        let session = try TestSession(try self.entries("a"))
        let stream = try session.listen(.x509SVIDs)
        try session.sign(session.requests().x509)
        #expect(stream.news() == ["svids a"])
        let old = try #require(stream.lastView?.identities.first?.svid)
        #expect(stream.lastView?.crls.isEmpty == true)

        let crl = try session.authority.crl(old)
        session.revoke(7, crls: [crl])
        #expect(session.identities.counts.x509SVIDs == 0, "it is not handed out again")
        let late = try session.listen(.x509SVIDs)
        #expect(late.news().isEmpty)
        let requests = session.requests()
        #expect(requests.revocations == [7])
        #expect(requests.x509.map(\.entryID) == ["a"])
        try session.sign(requests.x509)
        #expect(stream.news() == ["svids a"])
        #expect(late.news() == ["svids a"])
        let new = try #require(stream.lastView?.identities.first?.svid)
        #expect(new.serialNumber != old.serialNumber)
        #expect(stream.lastView?.crls == [crl], "the list goes with the SVIDs")
        #expect(session.requests().revocations.isEmpty)
        #expect(session.ownRevocations.withLockedValue { $0 } == 1)
    }

    @Test("where another identity is left the stream is redacted before the new one comes")
    func redacts() throws {
        let session = try TestSession(try self.entries("a", "b"))
        let stream = try session.listen(.x509SVIDs)
        try session.sign(session.requests().x509)
        #expect(stream.news().last == "svids a,b")
        let revoked = try #require(stream.lastView?.identities.first?.svid)
        session.revoke(1, crls: [try session.authority.crl(revoked)])
        #expect(stream.news() == ["svids b"])
        session.refuse(session.requests().x509, code: 9)
        #expect(stream.news().isEmpty, "what is left is told already")
        #expect(session.requests().x509.isEmpty, "and nothing is asked for again at once")
    }

    @Test(
        "what a revocation blocks is PERMISSION_DENIED, another refusal UNAVAILABLE",
        arguments: [9, 14])
    func blocked(code: Int) throws {
        let session = try TestSession(try self.entries("a"))
        let stream = try session.listen(.x509SVIDs)
        try session.sign(session.requests().x509)
        let revoked = try #require(stream.lastView?.identities.first?.svid)
        _ = stream.news()
        session.revoke(1, crls: [try session.authority.crl(revoked)])
        session.refuse(session.requests().x509, code: code)
        let expected = code == 9 ? "end noIdentity" : "end unavailable"
        #expect(stream.news() == [expected])
        for _ in 0..<3 {
            #expect(try session.listen(.x509SVIDs).news() == [expected])
            #expect(session.requests().x509.isEmpty, "asking again does not reach the server")
        }
        // A changed entry is asked for at once.
        session.identities.receive(
            .entries(
                EntryChange(upserted: [
                    try AuthorizedEntry.make("a", ["unix:uid:1"], revision: 1)
                ])))
        _ = try session.listen(.x509SVIDs)
        #expect(session.requests().x509.map(\.entryID) == ["a"])
    }

    @Test("an SVID that was taken back on its way is not taken in")
    func onItsWay() throws {
        let session = try TestSession(try self.entries("a"))
        let stream = try session.listen(.x509SVIDs)
        let request = try #require(session.requests().x509.first)
        let chain = try session.authority.sign(
            try SPIFFEID("spiffe://acme.test/w/a"), request.key.privateKey.publicKey)
        let svid = try IssuedX509SVID(
            chain: chain, key: request.key, expectedID: try SPIFFEID("spiffe://acme.test/w/a"))
        session.revoke(1, crls: [try session.authority.crl(svid)])
        session.identities.receive(.x509(requestID: request.requestID, .success(chain)))
        #expect(session.identities.counts.x509SVIDs == 0)
        #expect(stream.news() == ["end unavailable"])
    }

    @Test("nothing is confirmed that could not be applied")
    func notApplied() throws {
        let session = try TestSession(try self.entries("a"))
        let stream = try session.listen(.x509SVIDs)
        try session.sign(session.requests().x509)
        let svid = try #require(stream.lastView?.identities.first?.svid)
        var forged = try session.authority.crl(svid)
        forged[forged.count - 1] ^= 1
        session.revoke(1, crls: [forged])
        #expect(session.requests().revocations.isEmpty)
        #expect(session.identities.counts.x509SVIDs == 1)
        session.revoke(2, crls: [[0x30, 0x03, 1, 2, 3]])
        #expect(session.requests().revocations.isEmpty)
        session.revoke(3, crls: [try session.authority.crl(svid)])
        #expect(session.requests().revocations == [3])
        #expect(session.identities.counts.x509SVIDs == 0)
    }

    @Test("a partner's list takes back nothing of ours and goes to those that federate with it")
    func foreign() throws {
        let other = try TrustDomain("other.test")
        let partner = try TestAuthority(other, name: "partner")
        let entries = [
            try AuthorizedEntry.make("a", ["unix:uid:1"], federatesWith: ["other.test"]),
            try AuthorizedEntry.make("b", ["unix:uid:2"]),
        ]
        let session = try TestSession(entries, partners: [partner.bundle(other)])
        let federated = try session.listen(.x509Bundles)
        let alone = try session.listen(.x509Bundles, "unix:uid:2")
        let svids = try session.listen(.x509SVIDs)
        let revocations = try session.listen(.revocations)
        try session.sign(session.requests().x509)
        let svid = try #require(svids.lastView?.identities.first?.svid)
        for listener in [federated, alone, svids, revocations] { _ = listener.news() }
        session.revoke(4, crls: [try partner.crl(svid)], of: other)
        #expect(session.identities.counts.x509SVIDs == 1, "another authority's serial numbers")
        #expect(federated.news() == ["bundles with 1 crls"])
        #expect(alone.news().isEmpty)
        #expect(svids.news() == ["svids a"])
        #expect(svids.lastView?.crls.count == 1)
        #expect(revocations.news() == ["revocations other.test:1:0:0"])
        #expect(session.requests().revocations == [4])
        // Ours, signed by the partner, is no list of ours.
        session.revoke(5, crls: [try partner.crl(svid)])
        #expect(session.identities.counts.x509SVIDs == 1)
        // The partner goes, and its lists with it.
        session.identities.receive(.bundles(BundleChange(removed: [other])))
        #expect(federated.news().last == "bundles with 0 crls")
        #expect(revocations.news().last == "revocations acme.test:0:0:0")
    }

    @Test("streams hear of revocations at once, and again when they change")
    func fetchRevocations() throws {
        let session = try TestSession(try self.entries("a"))
        let stream = try session.listen(.revocations)
        #expect(stream.news() == ["revocations "], "nothing is known")
        session.revoke(1, crls: [try session.authority.crl()])
        #expect(stream.news() == ["revocations acme.test:1:0:0"])
        session.revoke(2, crls: [try session.authority.crl()], tokens: ["h.p.s"])
        #expect(stream.news() == ["revocations acme.test:1:0:1"])
        #expect(try session.listen(.revocations).news() == ["revocations acme.test:1:0:1"])
        #expect(
            try session.listen(.revocations, "unix:uid:9").news() == ["end noIdentity"])
    }

    @Test("revoked tokens are not kept, not handed out and not fallen back to")
    func tokens() async throws {
        let session = try TestSession(try self.entries("a"))
        let id = try SPIFFEID("spiffe://acme.test/w/a")
        let held = try selectors("unix:uid:1")
        func token(_ text: String) -> IssuedJWTSVID {
            IssuedJWTSVID(
                spiffeID: id, token: text, issuedAt: Date(),
                expiresAt: Date().addingTimeInterval(300))
        }
        /// Asks, and answers what then reaches the server.
        func ask(_ answer: Result<IssuedJWTSVID, IssuanceRefusal>?) async -> String {
            let identities = session.identities
            let call = Task { () -> String in
                do throws(WorkloadRefusal) {
                    let tokens = try await identities.jwtSVIDs(
                        held, audience: ["x"], spiffeID: nil, for: nil)
                    return tokens.map(\.svid.token).joined()
                } catch { return "\(error.code)" }
            }
            guard let answer else { return await call.value }
            var requests: [UInt64] = []
            while requests.isEmpty {
                requests = session.requests().jwt
                if requests.isEmpty { try? await Task.sleep(for: .milliseconds(1)) }
            }
            for request in requests { identities.receive(.jwt(requestID: request, answer)) }
            return await call.value
        }
        #expect(await ask(.success(token("h.one.s"))) == "h.one.s")
        #expect(session.identities.counts.jwtSVIDs == 1)
        session.revoke(1, crls: [], tokens: ["h.one.s"])
        #expect(session.identities.isRevoked(token: "h.one.other"))
        #expect(session.identities.counts.jwtSVIDs == 0)
        // Signed before it was taken back, and come after.
        #expect(await ask(.success(token("h.one.s"))) == "unavailable")
        #expect(await ask(.success(token("h.two.s"))) == "h.two.s")
        session.revoke(2, crls: [], tokens: ["h.one.s", "h.two.s"])
        #expect(await ask(.failure(IssuanceRefusal(code: 9, message: "revoked"))) == "noIdentity")
        #expect(await ask(nil) == "noIdentity", "the server is not asked")
        #expect(session.requests().jwt.isEmpty)
    }

    @Test("a new session begins without a number to confirm, and keeps what is known")
    func reconnects() throws {
        let session = try TestSession(try self.entries("a"))
        let stream = try session.listen(.x509SVIDs)
        try session.sign(session.requests().x509)
        let svid = try #require(stream.lastView?.identities.first?.svid)
        session.revoke(1, crls: [try session.authority.crl(svid)])
        session.identities.disconnected(reason: "test")
        _ = session.identities.begin(isPush: true)
        #expect(session.requests().revocations.isEmpty)
        #expect(session.identities.counts.x509SVIDs == 0)
        session.revoke(2, crls: [try session.authority.crl(svid)])
        #expect(session.requests().revocations == [2])
    }
}
