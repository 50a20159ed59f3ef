import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFETesting
import Testing

@testable import SPIFFEWorkloadAPI

/// What is made of lists that are missing, bad or slow to read.
@Suite("What a source makes of lists", .timeLimit(.minutes(1))) struct RevocationFeedTests {
    private let authority: TestAuthority
    private let trustDomain: TrustDomain
    private let time = NIOLockedValueBox(Date())

    init() throws {
        self.authority = try TestAuthority("acme.test")
        self.trustDomain = self.authority.trustDomain
    }

    private func feed() -> RevocationFeed {
        RevocationFeed(now: { [time] in time.withLockedValue { $0 } }) { _ in }
    }

    private func context(_ crls: [[UInt8]]) throws -> X509Context {
        X509Context(
            svids: [try self.authority.x509SVID("/web")],
            bundles: X509BundleSet([try self.authority.x509Bundle]), revocationLists: crls)
    }

    private func received(_ crls: [[UInt8]]) -> [TrustDomain: ReceivedRevocations] {
        [
            self.trustDomain: ReceivedRevocations(
                certificateLists: crls, statusLists: [], revokedTokens: [])
        ]
    }

    /// How a verifier refuses a good peer that long after now; nil when it does not.
    private func refusal(
        _ feed: RevocationFeed, _ policy: RevocationPolicy = .standard, after: TimeInterval = 0
    ) async throws -> X509SVIDError.Code? {
        let peer = try self.authority.x509SVID("/peer", notAfter: Date() + 80_000)
        let now = Date() + after
        let verifier = X509SVIDVerifier(
            bundles: try self.authority.x509Bundle, revocation: policy.asking(feed), now: { now })
        do throws(X509SVIDError) {
            _ = try await verifier.verify(chainDER: peer.certificateChainDER)
            return nil
        } catch {
            return error.code
        }
    }

    @Test("who verifies does not wait for a list that is being read")
    func readsOutside() throws {
        let holder = NIOLockedValueBox<RevocationFeed?>(nil)
        let counts = NIOLockedValueBox<[Int?]>([])
        let feed = RevocationFeed(
            read: { (der) throws(RevocationListError) in
                // Somebody verifies at this moment. Under one lock this would never return.
                let known = holder.withLockedValue { $0 }?.revocations(for: self.trustDomain)
                counts.withLockedValue { $0.append(known?.certificateLists.first?.count) }
                return try CertificateRevocationList(der: der)
            }, onTrouble: { _ in })
        holder.withLockedValue { $0 = feed }
        feed.update(try self.context([try self.authority.certificateRevocationList()]))
        self.authority.revoke(try self.authority.x509SVID("/peer"))
        feed.update(try self.context([try self.authority.certificateRevocationList()]))
        #expect(
            counts.withLockedValue { $0 } == [nil, 0], "the state before, until the new is whole")
        #expect(feed.revocations(for: self.trustDomain)?.certificateLists.first?.count == 1)
        holder.withLockedValue { $0 = nil }
    }

    @Test("a list that could not be used, with nothing in its place, is overdue from then on")
    func missing() async throws {
        let feed = self.feed()
        feed.update(try self.context([]))
        #expect(try await self.refusal(feed, after: 10_000) == nil, "nothing is known")
        for step in 0..<2 {
            self.time.withLockedValue { $0 += Double(step) * 3_000 }
            feed.update(self.received([[0x30, 0x00]]))
        }
        #expect(try await self.refusal(feed, after: 3_500) == nil, "an hour is granted")
        #expect(
            try await self.refusal(feed, after: 3_700) == .revocationUnknown,
            "counted from the first time")
        #expect(try await self.refusal(feed, .failOpen, after: 10_000) == nil)
        feed.update(
            self.received([
                try self.authority.certificateRevocationList(nextUpdate: Date() + 20_000)
            ]))
        #expect(try await self.refusal(feed, after: 10_000) == nil)
    }

    @Test(
        "a state that could not be used leaves what is known; where no list is, news is overdue from then on"
    )
    func unusableState() async throws {
        let feed = self.feed()
        feed.update(try self.context([]))
        for step in 0..<2 {
            self.time.withLockedValue { $0 += Double(step) * 3_000 }
            feed.couldNotUseState()
        }
        #expect(try await self.refusal(feed, after: 3_500) == nil, "an hour is granted")
        #expect(try await self.refusal(feed, after: 3_700) == .revocationUnknown)
        #expect(try await self.refusal(feed, .failOpen, after: 10_000) == nil)
        feed.update(
            self.received([
                try self.authority.certificateRevocationList(nextUpdate: Date() + 20_000)
            ]))
        #expect(try await self.refusal(feed, after: 10_000) == nil)
        feed.couldNotUseState()
        #expect(feed.revocations(for: self.trustDomain)?.certificateLists.count == 1)
        #expect(try await self.refusal(feed, after: 10_000) == nil, "until the list is overdue")
    }

    @Test("the same of the field alone, also when the list is too long")
    func missingField() async throws {
        let feed = self.feed()
        feed.update(
            try self.context([
                [UInt8](repeating: 0x30, count: CertificateRevocationList.maximumLength + 1)
            ]))
        #expect(try await self.refusal(feed, after: 3_500) == nil)
        #expect(try await self.refusal(feed, after: 3_700) == .revocationUnknown)
    }

    @Test(
        "a list that the field leaves out comes to be overdue; one that the stream leaves out is gone"
    )
    func leftOut() async throws {
        let feed = self.feed()
        feed.update(try self.context([try self.authority.certificateRevocationList()]))
        feed.update(try self.context([]))
        #expect(feed.revocations(for: self.trustDomain)?.certificateLists.count == 1)
        #expect(try await self.refusal(feed, after: 600 + 3_700) == .revocationUnknown)
        feed.update(self.received([]))
        #expect(feed.revocations(for: self.trustDomain)?.certificateLists.isEmpty == true)
        #expect(try await self.refusal(feed, after: 600 + 3_700) == nil)
        // Without its authority nobody goes by it.
        let other = self.feed()
        other.update(try self.context([try self.authority.certificateRevocationList()]))
        other.update(.empty)
        #expect(other.revocations(for: self.trustDomain) == nil)
    }

    @Test("a list with the name and the key ID of another authority takes nobody's place")
    func impostor() async throws {
        let impostor = try Impostor("m.test", of: self.authority)
        let good = try self.authority.certificateRevocationList()
        let forged = try impostor.signed(good)
        #expect(forged != good)
        let read = try CertificateRevocationList(der: forged)
        #expect(read.hasIssuer(of: try CertificateRevocationList(der: good)))
        #expect(impostor.bundle.authorities.contains { read.isSigned(by: $0) })
        func context(_ crls: [[UInt8]]) throws -> X509Context {
            X509Context(
                svids: [try self.authority.x509SVID("/web")],
                bundles: X509BundleSet([try self.authority.x509Bundle, impostor.bundle]),
                revocationLists: crls)
        }
        for crls in [[forged], [forged, [0x30, 0x00]]] {
            let feed = self.feed()
            feed.update(try context([good]))
            feed.update(try context(crls))
            let known = feed.revocations(for: self.trustDomain)?.certificateLists.map(\.der)
            #expect(known?.contains(good) == true)
        }
        // Nor is the good one there because the other one is.
        let feed = self.feed()
        feed.update(try context([forged, [0x30, 0x00]]))
        #expect(try await self.refusal(feed, after: 3_700) == .revocationUnknown)
    }
}
