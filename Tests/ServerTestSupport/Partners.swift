package import Crypto
import Foundation
import NIOConcurrencyHelpers
package import SPIFFE
package import ServerCore
import SwiftASN1
import X509

/// What other trust domains publish, made for a test.
package enum Partner {
    /// A self-signed authority in DER.
    ///
    /// - Parameters:
    ///   - names: its URI names; a SPIFFE ID of its trust domain in the usual case, or none.
    ///   - keyID: its subject key ID, whether it fits the key or not; nil for none.
    package static func certificate(
        _ names: [String], key: P256.Signing.PrivateKey = P256.Signing.PrivateKey(),
        keyID: [UInt8]? = nil
    ) throws -> [UInt8] {
        let privateKey = Certificate.PrivateKey(key)
        let name = try DistinguishedName { CommonName("partner") }
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(),
            publicKey: privateKey.publicKey,
            notValidBefore: Date(timeIntervalSince1970: 1_700_000_000),
            notValidAfter: Date(timeIntervalSince1970: 2_500_000_000), issuer: name, subject: name,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                if !names.isEmpty {
                    SubjectAlternativeNames(names.map { .uniformResourceIdentifier($0) })
                }
                if let keyID { SubjectKeyIdentifier(keyIdentifier: keyID[...]) }
            }, issuerPrivateKey: privateKey)
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }

    /// A bundle with one X.509 and one JWT authority.
    package static func bundle(
        _ name: String, sequence: UInt64? = nil, hint: Int64? = nil
    ) throws -> SPIFFEBundle {
        let trustDomain = try TrustDomain(name)
        return try SPIFFEBundle(
            trustDomain: trustDomain,
            x509Authorities: [try self.certificate([trustDomain.id.string])],
            jwtAuthorities: [
                JWTAuthorityKey(
                    keyID: "key-\(UInt64.random(in: .min ... .max))",
                    publicKeyDER: [UInt8](P256.Signing.PrivateKey().publicKey.derRepresentation))
            ],
            refreshHint: hint.map { .seconds($0) }, sequenceNumber: sequence)
    }

    /// The bundle as an operator would set it.
    package static func stored(_ name: String, sequence: UInt64? = nil) throws -> TrustBundle {
        var bundle = TrustBundle(fetched: try self.bundle(name, sequence: sequence))
        bundle.isFetched = false
        return bundle
    }

    /// A relationship of the profile `https_web`.
    package static func relationship(_ name: String) throws -> FederationRelationship {
        FederationRelationship(
            trustDomain: try TrustDomain(name), bundleEndpointURL: "https://\(name)/bundle",
            profile: .httpsWeb)
    }
}

/// Bundle endpoints that answer as the test says.
package final class ScriptedEndpoints: BundleFetching {
    /// A request that has arrived.
    package struct Request: Sendable, Equatable {
        package let relationship: FederationRelationship
        package let entityTag: String?
        /// For how long it may be held back.
        package let patience: Duration
    }

    package typealias Answer = @Sendable (Request) async throws -> FetchedBundle

    private struct State {
        var answers: [TrustDomain: Answer] = [:]
        var requests: [Request] = []
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    /// What has arrived at the endpoint of that trust domain.
    package func requests(_ trustDomain: TrustDomain) -> [Request] {
        self.state.withLockedValue { state in
            state.requests.filter { $0.relationship.trustDomain == trustDomain }
        }
    }

    /// Sets how the endpoint of that trust domain answers; none of them answers at first.
    package func answer(_ trustDomain: TrustDomain, _ answer: @escaping Answer) {
        self.state.withLockedValue { $0.answers[trustDomain] = answer }
    }

    /// Lets the endpoint serve that bundle.
    package func serve(_ bundle: SPIFFEBundle, entityTag: String? = nil) {
        self.answer(bundle.trustDomain) { _ in
            FetchedBundle(.bundle(bundle), entityTag: entityTag)
        }
    }

    /// Lets the endpoint fail with that error.
    package func fail(_ trustDomain: TrustDomain, _ error: ServerError) {
        self.answer(trustDomain) { _ in throw error }
    }

    package func fetch(
        _ relationship: FederationRelationship, entityTag: String?, waitingUpTo patience: Duration
    ) async throws -> FetchedBundle {
        let request = Request(
            relationship: relationship, entityTag: entityTag, patience: patience)
        let answer = self.state.withLockedValue { state in
            state.requests.append(request)
            return state.answers[relationship.trustDomain]
        }
        guard let answer else { throw ServerError(.unavailable, "nobody answers") }
        return try await answer(request)
    }
}
