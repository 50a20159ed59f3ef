import Crypto
package import Foundation
package import Logging
import NIOConcurrencyHelpers
package import SPIFFE
import X509

/// The server's own SVID, `spiffe://<trust domain>/spire/server`, renewed at half its life.
///
/// Connections take the current SVID at their handshake, so a renewal needs no restart.
package final class ServerIdentity: X509SVIDSource {
    private struct State {
        var svid: X509SVID?
        var issuedAt: Int64 = 0
        var expiresAt: Int64 = 0
        /// ID of the authority that signed it.
        var authorityID: String?
    }

    private let issuer: Issuer
    private let logger: Logger
    private let now: @Sendable () -> Date
    private let state = NIOLockedValueBox(State())

    package init(issuer: Issuer, logger: Logger, now: @escaping @Sendable () -> Date = { Date() }) {
        self.issuer = issuer
        self.logger = logger
        self.now = now
    }

    /// - Throws: ``ServerError`` `unavailable` before the first issuance.
    package func x509SVID() throws -> X509SVID {
        guard let svid = self.state.withLockedValue({ $0.svid }) else {
            throw ServerError(.unavailable, "server has no SVID yet")
        }
        return svid
    }

    /// Issues a new SVID with a new key.
    package func rotate() async throws {
        let id = try SPIFFEID(trustDomain: self.issuer.trustDomain, path: EntryIndex.serverPath)
        let key = P256.Signing.PrivateKey()
        let issued = try await self.issuer.issue(
            X509Issuance(
                spiffeID: id, publicKey: Certificate.PublicKey(key.publicKey), origin: .server),
            requestedBy: "self")
        let svid = try X509SVID(
            certificates: issued.chain, privateKeyPKCS8DER: [UInt8](key.derRepresentation))
        let now = Int64(self.now().timeIntervalSince1970)
        self.state.withLockedValue {
            $0 = State(
                svid: svid, issuedAt: now, expiresAt: issued.expiresAt,
                authorityID: svid.leaf.authorityKeyID)
        }
        self.logger.info(
            "server SVID issued",
            metadata: [LogKeys.spiffeID: "\(id)", LogKeys.expiresAt: "\(issued.expiresAt)"])
    }

    /// Renews when due, until cancelled. A failure is logged and tried again; the old SVID serves meanwhile.
    package func run() async throws {
        while true {
            let (issuedAt, expiresAt) = self.state.withLockedValue { ($0.issuedAt, $0.expiresAt) }
            let due = issuedAt + (expiresAt - issuedAt) / 2
            let wait = max(1, due - Int64(self.now().timeIntervalSince1970))
            // An hour at most, so that a clock set forward is noticed.
            try await Task.sleep(for: .seconds(min(wait, 3_600)))
            guard Int64(self.now().timeIntervalSince1970) >= due else { continue }
            do {
                try await self.rotate()
            } catch {
                self.logger.error(
                    "cannot renew the server SVID", metadata: [LogKeys.error: "\(error)"])
                try await Task.sleep(for: .seconds(5))
            }
        }
    }
}

extension ServerIdentity: AuthorityDependent {
    package func replaceSVIDs(signedBy authorityID: String) async throws {
        guard self.state.withLockedValue({ $0.authorityID }) == authorityID else { return }
        try await self.rotate()
    }
}

/// The X.509 bundles of the directory, parsed once per change.
package final class DirectoryBundleSource: X509BundleSource {
    private let directory: Directory
    private let cache = NIOLockedValueBox<
        [TrustDomain: (stored: [TrustBundle.X509AuthorityCertificate], bundle: X509Bundle)]
    >([:])

    package init(directory: Directory) { self.directory = directory }

    package func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        guard let stored = self.directory.bundle(trustDomain) else {
            self.cache.withLockedValue { $0[trustDomain] = nil }
            return nil
        }
        // Not by number: it starts over when a partner's bundle is deleted and set again.
        if let cached = self.cache.withLockedValue({ $0[trustDomain] }),
            cached.stored == stored.x509Authorities
        {
            return cached.bundle
        }
        guard
            let bundle = try? X509Bundle(
                trustDomain: trustDomain, authoritiesDER: stored.x509Authorities.map(\.der))
        else { return nil }
        self.cache.withLockedValue { $0[trustDomain] = (stored.x509Authorities, bundle) }
        return bundle
    }
}
