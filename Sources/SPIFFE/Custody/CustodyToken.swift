import Crypto
import Foundation
import X509

/// What statements and receipts have in common: a compact JWS that says by its `x5c` header whose key signed it.
///
/// Reading is strict: the header is `alg`, `typ` and `x5c` and nothing else, and the claims are those that are asked for
/// and no others, so that nothing gets into a ledger unnoticed.
struct CustodyToken: Sendable, Hashable {
    /// The most bytes that a statement or receipt may have.
    static let maximumLength = 16 * 1024

    /// The compact JWS.
    let token: String
    /// Who signed it: the ID of the leaf, which `sub` repeats.
    let signer: SPIFFEID
    /// The leaf, then the signing certificates above it.
    let chainDER: [[UInt8]]
    /// `iat`, Unix seconds.
    let issuedAt: Int64
    /// When the leaf is valid, Unix seconds, the ends included.
    let validity: ClosedRange<Int64>
    /// The serial number of the leaf in lower-case hex, without leading zeros.
    let serial: String
    /// SHA-256 of the token.
    var digest: [UInt8] { Array(SHA256.hash(data: Array(self.token.utf8))) }

    /// Signs with the key of the SVID.
    ///
    /// - Parameter claims: Those beside `sub` and `iat`.
    /// - Throws: ``CustodyError`` `signing`, `tooLarge`, `time` when the SVID is not valid at that time.
    static func sign(
        _ claims: [String: JSONValue], type: String, issuedAt: Int64, by svid: X509SVID
    ) throws(CustodyError) -> String {
        var claims = claims
        claims["sub"] = .string(svid.id.string)
        claims["iat"] = .int(issuedAt)
        let signature: [UInt8]
        let input: String
        do {
            let algorithm = try JWSAlgorithm.forSigning(with: svid.privateKey.publicKey)
            let header: JSONValue = .object([
                "alg": .string(algorithm.jws.rawValue), "typ": .string(type),
                "x5c": .array(svid.certificateChainDER.map { .string(Base64.encode($0)) }),
            ])
            input =
                Base64URL.encode(header.serialized()) + "."
                + Base64URL.encode(JSONValue.object(claims).serialized())
            let raw = try svid.privateKey.sign(
                bytes: Array(input.utf8), signatureAlgorithm: algorithm.x509
            ).rawRepresentation
            if let width = algorithm.jws.coordinateWidth {
                signature = JWSSigner.rawSignature(der: raw, width: width) ?? []
            } else {
                signature = raw
            }
        } catch let error as JOSEError {
            throw CustodyError(.signing, "key of \(svid.id) cannot sign: \(error.message)")
        } catch {
            // The cause may quote key bytes; it is left out.
            throw CustodyError(.signing, "key of \(svid.id) could not sign")
        }
        let token = input + "." + Base64URL.encode(signature)
        guard token.utf8.count <= self.maximumLength else { throw self.tooLarge(token) }
        return token
    }

    /// Reads a token and checks that the key of its own leaf signed it. Whether anybody vouches for that leaf is not
    /// part of this.
    ///
    /// - Parameter names: The claims beside `sub` and `iat` that there may be.
    /// - Returns: the token and its claims.
    /// - Throws: ``CustodyError`` `tooLarge`, `malformed`, `subject`, `signature`, `time`.
    static func read(
        _ token: String, type: String, claims names: Set<String>
    ) throws(CustodyError) -> (CustodyToken, [String: JSONValue]) {
        guard token.utf8.count <= self.maximumLength else { throw self.tooLarge(token) }
        let jws: CompactJWS
        let claims: [String: JSONValue]
        do throws(JOSEError) {
            jws = try CompactJWS(token, maximumLength: self.maximumLength)
            claims = try jws.claims()
        } catch {
            throw CustodyError(.malformed, error.message)
        }
        guard jws.header["typ"]?.stringValue == type else {
            throw CustodyError(.malformed, "typ is not \(type)")
        }
        guard Set(jws.header.keys) == ["alg", "typ", "x5c"] else {
            throw CustodyError(.malformed, "the header is not alg, typ and x5c")
        }
        for name in claims.keys.sorted() where !names.union(["sub", "iat"]).contains(name) {
            throw CustodyError(.malformed, "claim \(SPIFFEIDError.quoted(name)) is not known")
        }
        let chain = try self.chain(jws.header["x5c"])
        let leaf: Certificate
        let signer: SPIFFEID
        let key: JWTVerificationKey
        do {
            let certificates = try X509SVIDVerifier.parse(chain)
            leaf = certificates[0]
            signer = try CertificateProfile(leaf, der: chain[0]).checkLeaf()
            key = try JWTVerificationKey(leaf.publicKey)
        } catch let error as X509SVIDError {
            throw CustodyError(.malformed, "x5c is no X509-SVID: \(error.message)")
        } catch {
            throw CustodyError(.malformed, "the leaf in x5c has a key that signs no JWS")
        }
        guard let subject = claims["sub"]?.stringValue,
            subject.utf8.elementsEqual(signer.string.utf8)
        else {
            throw CustodyError(.subject, "sub is not \(signer), whose certificate is in x5c")
        }
        guard jws.isSigned(by: key) else {
            throw CustodyError(.signature, "it was not signed by the key of \(signer)")
        }
        guard case .int(let issuedAt)? = claims["iat"],
            (0...Int64(NumericDate.maximum)).contains(issuedAt)
        else { throw CustodyError(.malformed, "iat is no whole number of seconds since 1970") }
        let validity =
            Self.seconds(
                leaf.notValidBefore)...max(
                Self.seconds(leaf.notValidBefore), Self.seconds(leaf.notValidAfter))
        guard validity.contains(issuedAt) else {
            throw CustodyError(.time, "iat is outside of the time for which its certificate holds")
        }
        return (
            CustodyToken(
                token: token, signer: signer, chainDER: chain, issuedAt: issuedAt,
                validity: validity, serial: Self.hex(leaf.serialNumber.bytes)), claims
        )
    }

    private static func chain(_ value: JSONValue?) throws(CustodyError) -> [[UInt8]] {
        guard let texts = value?.arrayValue,
            (1...X509SVIDVerifier.maximumCertificates).contains(texts.count)
        else { throw CustodyError(.malformed, "x5c is no list of certificates") }
        var chain: [[UInt8]] = []
        for text in texts {
            guard let text = text.stringValue, let der = try? Base64.decode(text), !der.isEmpty
            else { throw CustodyError(.malformed, "x5c is no list of certificates in base64") }
            chain.append(der)
        }
        return chain
    }

    /// 32 bytes in base64url; nil when there is no such claim.
    static func digest(
        _ name: String, _ claims: [String: JSONValue]
    ) throws(CustodyError) -> [UInt8]? {
        guard let claim = claims[name] else { return nil }
        guard let text = claim.stringValue, let bytes = try? Base64URL.decode(text),
            bytes.count == 32
        else { throw CustodyError(.malformed, "\(name) is no SHA-256 in base64url") }
        return bytes
    }

    private static func tooLarge(_ token: String) -> CustodyError {
        CustodyError(.tooLarge, "it has \(token.utf8.count) bytes; at most \(self.maximumLength)")
    }

    private static func seconds(_ date: Date) -> Int64 {
        Int64(date.timeIntervalSince1970.clamped(to: 0...NumericDate.maximum))
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        let digits = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let rest = digits.drop { $0 == "0" }
        return rest.isEmpty ? "0" : String(rest)
    }
}

extension Double {
    fileprivate func clamped(to range: ClosedRange<Double>) -> Double {
        min(max(self, range.lowerBound), range.upperBound)
    }
}
