import SPIFFE
import SwiftASN1
package import X509

/// Public keys and certificate requests from outside.
package enum PublicKeys {
    /// Parses a SubjectPublicKeyInfo.
    ///
    /// - Throws: ``ServerError`` `invalidArgument` when it is malformed or its key is weak.
    package static func parse(_ der: [UInt8]) throws(ServerError) -> Certificate.PublicKey {
        guard der.count <= 4096 else {
            throw ServerError(
                .invalidArgument, "public key has \(der.count) bytes; at most 4096 are accepted")
        }
        let key: Certificate.PublicKey
        do { key = try Certificate.PublicKey(derEncoded: der) } catch {
            throw ServerError(
                .invalidArgument,
                "public key is malformed or of an unknown kind; accepted are P-256, P-384 and RSA of 2048 to 4096 bits"
            )
        }
        try self.check(key)
        return key
    }

    /// Parses a certificate request and checks its own signature.
    ///
    /// - Throws: ``ServerError`` `invalidArgument` when it is malformed, its signature does not verify, or its
    ///   key is weak.
    package static func parseRequest(
        _ der: [UInt8], verifySignature: Bool = true
    ) throws(ServerError) -> CertificateSigningRequest {
        guard der.count <= 64 * 1024 else {
            throw ServerError(
                .invalidArgument, "CSR has \(der.count) bytes; at most 65536 are accepted")
        }
        let request: CertificateSigningRequest
        do { request = try CertificateSigningRequest(derEncoded: der) } catch {
            throw ServerError(.invalidArgument, "malformed CSR; expected a PKCS#10 request in DER")
        }
        try self.check(request.publicKey)
        if verifySignature {
            guard request.publicKey.isValidSignature(request.signature, for: request) else {
                throw ServerError(
                    .invalidArgument, "CSR signature does not verify with the key in the CSR")
            }
        }
        return request
    }

    /// Accepts P-256, P-384, and RSA of 2048 to 4096 bits.
    private static func check(_ key: Certificate.PublicKey) throws(ServerError) {
        switch PublicKeyKind(key) {
        case .ecP256, .ecP384: return
        case .rsa(let bits) where bits >= 2048 && bits <= 4096: return
        case .rsa(let bits):
            throw ServerError(
                .invalidArgument, "RSA key of \(bits) bits rejected; accepted are 2048 to 4096 bits"
            )
        case .other:
            throw ServerError(
                .invalidArgument,
                "key type rejected; accepted are P-256, P-384 and RSA of 2048 to 4096 bits")
        }
    }
}

/// What kind of key a public key is.
enum PublicKeyKind {
    case ecP256
    case ecP384
    case rsa(bits: Int)
    case other

    init(_ key: Certificate.PublicKey) {
        var serializer = DER.Serializer()
        guard (try? serializer.serialize(key)) != nil,
            let root = try? DER.parse(serializer.serializedBytes),
            case .constructed(let nodes) = root.content
        else {
            self = .other
            return
        }
        var iterator = nodes.makeIterator()
        guard let algorithm = iterator.next(), case .constructed(let parts) = algorithm.content,
            let bits = iterator.next(), let keyBits = try? ASN1BitString(derEncoded: bits)
        else {
            self = .other
            return
        }
        let identifiers = parts.compactMap { try? ASN1ObjectIdentifier(derEncoded: $0) }
        switch identifiers.first {
        case [1, 2, 840, 10045, 2, 1]:
            switch identifiers.dropFirst().first {
            case [1, 2, 840, 10045, 3, 1, 7]: self = .ecP256
            case [1, 3, 132, 0, 34]: self = .ecP384
            default: self = .other
            }
        case [1, 2, 840, 113549, 1, 1, 1]:
            self = .rsa(bits: Self.modulusBits(Array(keyBits.bytes)))
        default: self = .other
        }
    }

    private static func modulusBits(_ der: [UInt8]) -> Int {
        guard let root = try? DER.parse(der), case .constructed(let nodes) = root.content,
            let modulus = nodes.first(where: { _ in true }),
            case .primitive(let bytes) = modulus.content
        else { return 0 }
        let significant = bytes.drop { $0 == 0 }
        guard let first = significant.first else { return 0 }
        return significant.count * 8 - first.leadingZeroBitCount
    }
}
