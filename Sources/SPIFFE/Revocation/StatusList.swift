public import Foundation

/// A Token Status List: what an issuer says about each of its tokens, a few bits for each.
///
/// Made only from a token that the JWT authorities of a trust domain have signed. An old one is read all the same:
/// whether it is fresh enough is for ``RevocationPolicy`` to say.
/// - SeeAlso: draft-ietf-oauth-status-list §4, §5.1.
public struct StatusList: Sendable {
    /// The most bytes that the token of a list may have.
    public static let maximumTokenLength = 8 * 1024 * 1024
    /// The most bytes that a list may unpack to: 64 million tokens of two bits.
    public static let maximumLength = 16 * 1024 * 1024

    /// The name of the list, as in the claim `status` of tokens (`sub`).
    public let uri: String
    /// When it was made (`iat`), UTC.
    public let issuedAt: Date
    /// When it ends (`exp`), UTC; nil when it says nothing.
    public let expiresAt: Date?
    /// How long it may be kept (`ttl`); nil when it says nothing.
    public let timeToLive: Duration?
    /// How many bits a token has: 1, 2, 4 or 8.
    public let bitsPerToken: Int
    /// How many tokens have a place in it; the last ones may be there only to fill a byte.
    public var count: Int { self.bytes.count * (8 / self.bitsPerToken) }

    private let bytes: [UInt8]

    /// Reads a list and checks its signature.
    ///
    /// - Parameters:
    ///   - token: `application/statuslist+jwt`.
    ///   - uri: The list asked for; compared byte by byte.
    ///   - bundle: The JWT authorities of the trust domain whose tokens the list is about.
    /// - Throws: ``RevocationListError``.
    public init(
        token: String, uri: String, bundle: JWTBundle
    ) throws(RevocationListError) {
        let claims = try Self.verifiedClaims(token, bundle)
        guard let subject = claims["sub"]?.stringValue, subject.utf8.elementsEqual(uri.utf8) else {
            throw RevocationListError(
                .subject, "status list is not the one of \(SPIFFEIDError.quoted(uri))")
        }
        self.uri = subject
        guard let issuedAt = try Self.date("iat", claims) else {
            throw Self.malformed("it has no iat")
        }
        self.issuedAt = issuedAt
        self.expiresAt = try Self.date("exp", claims)
        if let ttl = claims["ttl"] {
            guard let seconds = ttl.numberValue, seconds > 0, seconds <= NumericDate.maximum else {
                throw Self.malformed("ttl is no number of seconds above 0")
            }
            self.timeToLive = .seconds(seconds)
        } else {
            self.timeToLive = nil
        }
        guard let list = claims["status_list"] else {
            throw Self.malformed("it has no status_list")
        }
        (self.bitsPerToken, self.bytes) = try Self.unpacked(list)
    }

    /// What the list says about the token at this place; nil when it has no such place.
    public func status(at index: UInt64) -> TokenStatus? {
        let perByte = UInt64(8 / self.bitsPerToken)
        guard let byte = Int(exactly: index / perByte), byte < self.bytes.count else { return nil }
        let shift = Int(index % perByte) * self.bitsPerToken
        let mask = UInt8(truncatingIfNeeded: (1 << self.bitsPerToken) - 1)
        return TokenStatus(rawValue: self.bytes[byte] >> UInt8(shift) & mask)
    }

    /// Until when the list speaks for the present; nil for ever.
    var freshUntil: Date? {
        self.expiresAt ?? self.timeToLive.map { self.issuedAt + $0.timeInterval }
    }

    // MARK: Reading

    /// Unpacks `status_list` (§4.2): `bits` and `lst`.
    static func unpacked(
        _ list: JSONValue
    ) throws(RevocationListError) -> (bits: Int, bytes: [UInt8]) {
        guard let bits = list["bits"]?.unsignedValue, [1, 2, 4, 8].contains(bits) else {
            throw self.malformed("bits is none of 1, 2, 4 and 8")
        }
        guard let text = list["lst"]?.stringValue else { throw self.malformed("it has no lst") }
        let packed: [UInt8]
        do throws(JOSEError) {
            packed = try Base64URL.decode(text)
        } catch {
            throw self.malformed("lst: \(error.message)")
        }
        do throws(Inflation.Failure) {
            return (Int(bits), try Inflation.inflate(packed, limit: self.maximumLength))
        } catch {
            switch error {
            case .malformed: throw self.malformed("lst is no whole zlib stream")
            case .tooLarge:
                throw RevocationListError(
                    .tooLarge, "status list unpacks to more than \(self.maximumLength) bytes")
            }
        }
    }

    private static func verifiedClaims(
        _ token: String, _ bundle: JWTBundle
    ) throws(RevocationListError) -> [String: JSONValue] {
        guard token.utf8.count <= self.maximumTokenLength else {
            throw RevocationListError(
                .tooLarge,
                "status list has \(token.utf8.count) bytes; at most \(self.maximumTokenLength)")
        }
        let jws: CompactJWS
        let claims: [String: JSONValue]
        do throws(JOSEError) {
            jws = try CompactJWS(token, maximumLength: self.maximumTokenLength)
        } catch {
            throw self.malformed(error.message)
        }
        guard jws.header["typ"]?.stringValue == "statuslist+jwt" else {
            throw self.malformed("typ is not statuslist+jwt")
        }
        guard jws.header["crit"] == nil else {
            throw RevocationListError(
                .unsupported, "status list has critical header parameters; none is understood")
        }
        try self.checkSignature(jws, bundle)
        do throws(JOSEError) {
            claims = try jws.claims()
        } catch {
            throw self.malformed(error.message)
        }
        return claims
    }

    private static func checkSignature(
        _ jws: CompactJWS, _ bundle: JWTBundle
    ) throws(RevocationListError) {
        var keys = Array(bundle.authorities.values)
        if let keyID = jws.header["kid"] {
            guard let keyID = keyID.stringValue else { throw self.malformed("kid is no text") }
            guard let key = bundle.authority(keyID: keyID) else {
                throw RevocationListError(
                    .unknownKey,
                    "status list is signed with key \(SPIFFEIDError.quoted(keyID)), which "
                        + "\(bundle.trustDomain) has not")
            }
            keys = [key]
        }
        guard keys.contains(where: { jws.isSigned(by: $0) }) else {
            throw RevocationListError(
                .signature,
                "the signature of the status list does not verify with a key of \(bundle.trustDomain)"
            )
        }
    }

    private static func date(
        _ name: String, _ claims: [String: JSONValue]
    ) throws(RevocationListError) -> Date? {
        do throws(JOSEError) {
            return try NumericDate.read(name, claims).map(Date.init(timeIntervalSince1970:))
        } catch {
            throw self.malformed(error.message)
        }
    }

    private static func malformed(_ what: String) -> RevocationListError {
        RevocationListError(.malformed, "status list cannot be read: \(what)")
    }
}
