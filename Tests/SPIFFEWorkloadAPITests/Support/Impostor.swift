import Crypto
import Foundation
import SPIFFE
import SPIFFETesting
import SwiftASN1
import X509

/// A partner whose authority has name and key ID of another trust domain's, and a key of its own.
struct Impostor {
    let bundle: X509Bundle
    private let key = P256.Signing.PrivateKey()

    init(_ name: String, of victim: TestAuthority) throws {
        let model = try Certificate(derEncoded: try victim.rootDER)
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(),
            publicKey: Certificate.PublicKey(self.key.publicKey),
            notValidBefore: model.notValidBefore, notValidAfter: model.notValidAfter,
            issuer: model.subject, subject: model.subject, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                if let keyID = try model.extensions.subjectKeyIdentifier { keyID }
            }, issuerPrivateKey: Certificate.PrivateKey(self.key))
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        self.bundle = try X509Bundle(
            trustDomain: try TrustDomain(name), authoritiesDER: [serializer.serializedBytes])
    }

    /// The victim's list, with a signature of this authority.
    func signed(_ list: [UInt8]) throws -> [UInt8] {
        let parts = try DER.sequence(try DER.parse(list), identifier: .sequence) { nodes in
            [nodes.next(), nodes.next(), nodes.next()].compactMap {
                $0.map { Array($0.encodedBytes) }
            }
        }
        let signature = try self.key.signature(for: parts[0])
        var serializer = DER.Serializer()
        try serializer.appendConstructedNode(identifier: .sequence) { serializer in
            serializer.serializeRawBytes(parts[0])
            serializer.serializeRawBytes(parts[1])
            try serializer.serialize(
                ASN1BitString(bytes: Array(signature.derRepresentation)[...]))
        }
        return serializer.serializedBytes
    }
}
