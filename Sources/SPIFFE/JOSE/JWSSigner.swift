package import X509

/// Signs claims into compact JWS (RFC 7515 §7.1), as JWT-SVIDs are.
///
/// The header is `alg`, `kid`, `typ` and nothing else (JWT-SVID §2), made once. Signing costs little
/// more than the signature: no JSON is built or parsed here. Safe to use from many tasks at once.
package struct JWSSigner: Sendable {
    /// `ES256`, `ES384`, `ES512` or `RS256`, from the kind of key.
    package let algorithm: String
    /// The `kid` of the header, under which the bundle lists the public key.
    package let keyID: String
    /// The public half, as it goes into the bundle.
    package let publicKey: JWTVerificationKey

    private let privateKey: Certificate.PrivateKey
    private let signatureAlgorithm: Certificate.SignatureAlgorithm
    private let coordinateWidth: Int?
    /// The encoded header and the dot behind it.
    private let prefix: [UInt8]

    /// - Parameters:
    ///   - privateKey: P-256, P-384, P-521 or RSA; may live outside the process.
    ///   - keyID: Not empty.
    ///   - type: The `typ` of the header.
    /// - Throws: ``JOSEError`` `unsupportedKeyType` (Ed25519 among others, JWT-04) or `keySize`.
    package init(
        privateKey: Certificate.PrivateKey, keyID: String, type: String = "JWT"
    ) throws(JOSEError) {
        guard !keyID.isEmpty else { throw JOSEError(.malformedKey, "the key ID is empty") }
        let algorithm = try JWSAlgorithm.forSigning(with: privateKey.publicKey)
        self.publicKey = try JWTVerificationKey(privateKey.publicKey)
        self.algorithm = algorithm.jws.rawValue
        self.signatureAlgorithm = algorithm.x509
        self.coordinateWidth = algorithm.jws.coordinateWidth
        self.keyID = keyID
        self.privateKey = privateKey
        let header: JSONValue = .object([
            "alg": .string(self.algorithm), "kid": .string(keyID), "typ": .string(type),
        ])
        self.prefix = Array(Base64URL.encode(header.serialized()).utf8) + [UInt8(ascii: ".")]
    }

    /// The same key, for tokens of another `typ`.
    ///
    /// - Throws: ``JOSEError`` as ``init(privateKey:keyID:type:)``.
    package func signer(ofType type: String) throws(JOSEError) -> JWSSigner {
        try JWSSigner(privateKey: self.privateKey, keyID: self.keyID, type: type)
    }

    /// Signs the claims.
    ///
    /// - Parameter claims: A JSON object as UTF-8; taken as it is.
    /// - Returns: The token.
    /// - Throws: ``JOSEError`` `signing` when the key cannot sign, or only asynchronously.
    package func sign(claims: [UInt8]) throws(JOSEError) -> String {
        let input = self.signingInput(claims)
        let signature: Certificate.Signature
        do {
            signature = try self.privateKey.sign(
                bytes: input, signatureAlgorithm: self.signatureAlgorithm)
        } catch {
            throw JOSEError(.signing, "key \(self.keyID) could not sign: \(error)")
        }
        return try self.token(input, signature)
    }

    /// Signs the claims with a key that may answer later, such as one in a key management service.
    ///
    /// - Throws: ``JOSEError`` `signing`.
    package func signAsynchronously(claims: [UInt8]) async throws(JOSEError) -> String {
        let input = self.signingInput(claims)
        let signature: Certificate.Signature
        do {
            signature = try await self.privateKey.signAsynchronously(
                bytes: input, signatureAlgorithm: self.signatureAlgorithm)
        } catch {
            throw JOSEError(.signing, "key \(self.keyID) could not sign: \(error)")
        }
        return try self.token(input, signature)
    }

    /// Header, dot, claims; with room for the signature, so that it can be appended in place.
    private func signingInput(_ claims: [UInt8]) -> [UInt8] {
        var input: [UInt8] = []
        let signatureLength = self.coordinateWidth.map { $0 * 2 } ?? 1024
        input.reserveCapacity(
            self.prefix.count + Base64URL.encodedLength(claims.count) + 1
                + Base64URL.encodedLength(signatureLength))
        input.append(contentsOf: self.prefix)
        Base64URL.append(claims, to: &input)
        return input
    }

    private func token(
        _ input: consuming [UInt8], _ signature: Certificate.Signature
    ) throws(JOSEError) -> String {
        let raw: [UInt8]
        if let width = self.coordinateWidth {
            guard
                let converted = JWSSigner.rawSignature(
                    der: signature.rawRepresentation, width: width)
            else {
                throw JOSEError(.signing, "key \(self.keyID) gave a signature that is no ECDSA one")
            }
            raw = converted
        } else {
            raw = signature.rawRepresentation
        }
        input.append(UInt8(ascii: "."))
        Base64URL.append(raw, to: &input)
        return String(decoding: input, as: UTF8.self)
    }

    /// Turns `SEQUENCE { r INTEGER, s INTEGER }` into both numbers at full width (RFC 7518 §3.4).
    static func rawSignature(der: [UInt8], width: Int) -> [UInt8]? {
        guard
            var rest = DERElement(der[...]).flatMap({
                $0.tag == 0x30 && $0.rest.isEmpty ? $0.content : nil
            })
        else { return nil }
        var raw = [UInt8](repeating: 0, count: width * 2)
        for end in [width, width * 2] {
            guard let number = DERElement(rest), number.tag == 0x02 else { return nil }
            let digits = number.content.drop { $0 == 0 }
            guard digits.count <= width else { return nil }
            raw.replaceSubrange((end - digits.count)..<end, with: digits)
            rest = number.rest
        }
        return rest.isEmpty ? raw : nil
    }
}
