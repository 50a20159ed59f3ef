import Crypto
import PluginAPI
import Plugins
package import SPIFFE
package import ServerCore
import SwiftASN1
import X509

/// Another trust domain that signs lists of what it has taken back, with authorities of its own.
package struct RevokingPartner: Sendable {
    package let trustDomain: TrustDomain
    package let bundle: TrustBundle
    package let x509: X509Authority
    private let jwt: JWTAuthority

    package init(_ name: String = "b.test", at clock: TestClock = TestClock()) async throws {
        let trustDomain = try TrustDomain(name)
        let store = MemoryStore()
        let directory = Directory(trustDomain: trustDomain, now: clock.now)
        try await directory.load(from: store)
        store.setConsumer(directory)
        let authorities = AuthorityManager(
            trustDomain: trustDomain, settings: AuthorityManager.Settings(),
            keyManager: MemoryKeyManager(), journal: store, bundles: store,
            recorder: MemoryRecorder(),
            holders: ConnectedAgents(directory: directory, logger: TestPlane.logger),
            logger: TestPlane.logger, now: clock.now)
        try await authorities.start(ownBundle: directory.ownBundle)
        guard let own = directory.ownBundle else {
            throw ServerError(.internal, "no bundle")
        }
        self.trustDomain = trustDomain
        self.bundle = own
        self.x509 = try authorities.x509Authority()
        self.jwt = try authorities.statusListAuthority()
    }

    package var authorities: PartnerAuthorities { PartnerAuthorities(self.bundle) }

    /// The bundle as its endpoint would serve it.
    package func served(sequence: UInt64 = 1) throws -> SPIFFEBundle {
        try SPIFFEBundle(
            trustDomain: self.trustDomain, x509Authorities: self.bundle.x509Authorities.map(\.der),
            jwtAuthorities: self.bundle.jwtAuthorities.map {
                JWTAuthorityKey(keyID: $0.keyID, publicKeyDER: $0.publicKeyDER)
            }, sequenceNumber: sequence)
    }

    /// A CRL in DER.
    ///
    /// - Parameters:
    ///   - serials: lower-case hex.
    ///   - other: whose key makes the signature in place of ours.
    package func crl(
        _ serials: [String] = [], number: UInt64 = 1, from start: Int64 = 1_900_000_000,
        until end: Int64 = 1_900_000_300, signedBy other: RevokingPartner? = nil
    ) async throws -> [UInt8] {
        var builder = try CRLBuilder(authority: self.x509)
        _ = builder.update(
            serials.compactMap {
                RevokedCertificate(serial: $0, revokedAt: start, isSuspended: false)
            })
        guard let other else {
            return try await builder.sign(number: number, thisUpdate: start, nextUpdate: end)
        }
        let unsigned = builder.unsigned(number: number, thisUpdate: start, nextUpdate: end)
        let signature = try await other.x509.key.privateKey.signAsynchronously(
            bytes: unsigned, signatureAlgorithm: other.x509.signatureAlgorithm)
        return builder.certificateList(unsigned, signature: signature.rawRepresentation)
    }

    /// The bundle with one more authority: it has our key, and name and key ID of another trust domain's authority.
    package func bundle(claiming other: RevokingPartner) throws -> TrustBundle {
        let model = other.x509.certificate
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(),
            publicKey: self.x509.certificate.publicKey, notValidBefore: model.notValidBefore,
            notValidAfter: model.notValidAfter, issuer: model.subject, subject: model.subject,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(keyIdentifier: other.x509.subjectKeyIdentifier)
            }, issuerPrivateKey: Certificate.PrivateKey(P256.Signing.PrivateKey()))
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        var bundle = self.bundle
        bundle.x509Authorities.append(.init(der: serializer.serializedBytes))
        return bundle
    }

    package var statusListURI: String { "https://\(self.trustDomain.name)/statuslist" }

    /// A status list that marks these places as taken back.
    package func statusList(
        _ places: [Int64] = [], uri: String? = nil, at issuedAt: Int64 = 1_900_000_000
    ) async throws -> [UInt8] {
        var builder = StatusListBuilder()
        _ = try builder.update(
            Dictionary(places.map { ($0, true) }) { first, _ in first }, tokens: 1)
        return try await self.signed(
            try builder.claims(
                uri: uri ?? self.statusListURI, issuer: nil, issuedAt: issuedAt,
                expiresAt: issuedAt + 300, timeToLive: 150))
    }

    /// Claims, signed as a status list.
    package func signed(_ claims: [UInt8]) async throws -> [UInt8] {
        Array(
            try await self.jwt.signer.signer(ofType: StatusListBuilder.tokenType)
                .signAsynchronously(claims: claims).utf8)
    }

    /// The listing of these lists.
    package func listing(
        crl: [UInt8]? = nil, statusList: [UInt8]? = nil, until end: Int64 = 1_900_000_300
    ) throws -> [UInt8] {
        var lists = RevocationLists()
        if let crl {
            lists.crls[self.x509.id] = SignedList(
                bytes: crl, authorityID: self.x509.id, signedAt: end - 300, expiresAt: end)
        }
        if let statusList {
            lists.statusList = SignedList(
                bytes: statusList, authorityID: self.jwt.id, signedAt: end - 300, expiresAt: end)
        }
        guard
            let document = RevocationListing.document(
                of: lists, trustDomain: self.trustDomain, statusListURI: self.statusListURI)
        else { throw ServerError(.internal, "nothing to list") }
        return document
    }
}
