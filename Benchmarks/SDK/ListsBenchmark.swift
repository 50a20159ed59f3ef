import Crypto
import PluginAPI
import SPIFFE
import ServerCore
import SwiftASN1
import X509

/// A CRL and a status list of SVIDs that were taken back, signed anew because of one more; 1,000,000 are live. The bound is for
/// 10,000; ten times as many are for information.
enum ListsBenchmark {
    private static let issued: Int64 = 1_000_000

    static func run() throws -> [Figure] {
        try [(10_000, 50.0), (100_000, nil)].flatMap { revoked, limit in
            [try self.crl(revoked, limit), try self.statusList(revoked, limit)]
        }
    }

    private static func crl(_ revoked: Int, _ limit: Double?) throws -> Figure {
        let authority = try self.authority()
        let more = (0...revoked).compactMap { index in
            RevokedCertificate(
                serial: hex(SerialNumbers.random()), revokedAt: 1_900_000_000 + Int64(index),
                isSuspended: index % 10 == 0)
        }
        let fewer = Array(more.dropLast())
        var builder = try CRLBuilder(authority: authority)
        var isMore = false
        var size = 0
        let times = try Measurement.fastest(
            rounds: 20, runs: 2,
            [
                {
                    isMore.toggle()
                    _ = builder.update(isMore ? more : fewer)
                    let unsigned = builder.unsigned(
                        number: 1, thisUpdate: 1_900_000_000, nextUpdate: 1_900_000_300)
                    let signature = try authority.key.privateKey.sign(
                        bytes: unsigned, signatureAlgorithm: authority.signatureAlgorithm)
                    size =
                        builder.certificateList(unsigned, signature: signature.rawRepresentation)
                        .count
                }
            ])
        return Figure(
            benchmark: "lists", label: "CRL of \(revoked)", value: times[0] / 1e6, unit: "ms",
            must: limit,
            note: "CRL of \(size) bytes: compared, entries put in order, hashed and signed")
    }

    private static func statusList(_ revoked: Int, _ limit: Double?) throws -> Figure {
        let signer = try JWSSigner(
            privateKey: Certificate.PrivateKey(P256.Signing.PrivateKey()), keyID: "key",
            type: StatusListBuilder.tokenType)
        var fewer: [Int64: Bool] = [:]
        while fewer.count < revoked {
            fewer[Int64.random(in: 0..<self.issued - 1)] = fewer.count % 10 != 0
        }
        var more = fewer
        more[self.issued - 1] = true
        var builder = StatusListBuilder()
        var isMore = false
        var size = 0
        let tokens = self.issued
        let times = try Measurement.fastest(
            rounds: 20, runs: 2,
            [
                {
                    isMore.toggle()
                    _ = try builder.update(isMore ? more : fewer, tokens: tokens)
                    let claims = try builder.claims(
                        uri: "https://example.org/statuslist", issuer: nil,
                        issuedAt: 1_900_000_000, expiresAt: 1_900_000_300, timeToLive: 150)
                    size = try signer.sign(claims: claims).utf8.count
                }
            ])
        return Figure(
            benchmark: "lists", label: "status list of \(revoked)", value: times[0] / 1e6,
            unit: "ms", must: limit,
            note: "status list of \(size) bytes: compared, marked, compressed and signed")
    }

    private static func authority() throws -> X509Authority {
        let key = try ManagedKey(
            id: "x509-CA-A", type: .ecP256,
            privateKey: Certificate.PrivateKey(P256.Signing.PrivateKey()))
        let certificate = try X509Builder.selfSignedAuthority(
            trustDomain: try TrustDomain("example.org"), subject: .authority, key: key.privateKey,
            algorithm: key.type.signatureAlgorithm, notBefore: 0, notAfter: 2_000_000_000,
            serial: SerialNumbers.random())
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        let identifier = SubjectKeyIdentifier(hash: certificate.publicKey).keyIdentifier
        return X509Authority(
            id: hex(identifier), certificate: certificate,
            der: serializer.serializedBytes, key: key,
            subjectKeyIdentifier: identifier, signatureAlgorithm: key.type.signatureAlgorithm,
            notAfter: 2_000_000_000)
    }
}
