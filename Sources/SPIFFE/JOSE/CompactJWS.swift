import Crypto

/// A token in JWS compact form (RFC 7515 §7.1): its header has been read, its signature has not been
/// checked, and its payload has not been looked at.
struct CompactJWS: Sendable {
    /// The most bytes that a token may have.
    static let maximumLength = 64 * 1024

    /// What `alg` says; one of the nine.
    let algorithm: JWSAlgorithm
    /// All header parameters. Keys and addresses in it are never used.
    let header: [String: JSONValue]
    private let payload: [UInt8]
    private let signingInput: [UInt8]
    private let signature: [UInt8]

    /// - Throws: ``JOSEError`` `unsupportedAlgorithm` for any other `alg`, which comes before all that is
    ///   not form; `compactForm` or what is wrong with one of the parts.
    init(
        _ token: String, maximumLength: Int = CompactJWS.maximumLength
    ) throws(JOSEError) {
        let bytes = Array(token.utf8)
        guard bytes.count <= maximumLength else {
            throw JOSEError(.compactForm, "it has \(bytes.count) bytes; at most \(maximumLength)")
        }
        let parts = bytes.split(
            separator: UInt8(ascii: "."), maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 3 else {
            throw JOSEError(
                .compactForm, "it is not in JWS compact form: three parts with dots between")
        }
        let header = try CompactJWS.object(parts[0], "header")
        guard let name = header["alg"]?.stringValue, let algorithm = JWSAlgorithm(rawValue: name)
        else {
            let name = header["alg"]?.stringValue ?? ""
            throw JOSEError(
                .unsupportedAlgorithm,
                "alg \(SPIFFEIDError.quoted(name)) is none of the nine allowed")
        }
        guard !parts[2].isEmpty else { throw JOSEError(.compactForm, "it has no signature") }
        let signature: [UInt8]
        do throws(JOSEError) {
            signature = try Base64URL.decode(utf8: parts[2])
        } catch {
            throw JOSEError(error.code, "signature: \(error.message)")
        }
        self.algorithm = algorithm
        self.header = header
        self.payload = Array(parts[1])
        self.signingInput = Array(bytes[..<(parts[2].startIndex - 1)])
        self.signature = signature
    }

    /// The payload as a JSON object.
    ///
    /// - Throws: ``JOSEError`` when it is none.
    func claims() throws(JOSEError) -> [String: JSONValue] {
        try CompactJWS.object(self.payload[...], "payload")
    }

    /// The SHA-256 of what is signed, header, dot and payload: how a revocation names a token.
    var signingInputSHA256: [UInt8] { Array(SHA256.hash(data: self.signingInput)) }

    /// Whether the key made the signature, with the algorithm of the header.
    func isSigned(by key: JWTVerificationKey) -> Bool {
        key.isValidSignature(self.signature, for: self.signingInput, algorithm: self.algorithm)
    }

    private static func object(
        _ part: ArraySlice<UInt8>, _ name: String
    ) throws(JOSEError) -> [String: JSONValue] {
        let value: JSONValue
        do throws(JOSEError) {
            value = try JSONValue(parsing: try Base64URL.decode(utf8: part))
        } catch {
            throw JOSEError(error.code, "\(name): \(error.message)")
        }
        guard let members = value.objectValue else {
            throw JOSEError(.compactForm, "\(name) is no JSON object")
        }
        return members
    }
}

/// A NumericDate claim (RFC 7519 §2): seconds since 1970. A boolean or a string of digits is none.
enum NumericDate {
    /// The end of year 9999. Milliseconds in place of seconds would make a token for ever.
    static let maximum = 253_402_300_799.0

    /// - Returns: nil when there is no such claim.
    /// - Throws: ``JOSEError`` `numberOutOfRange` when it is no number, or too far away.
    static func read(_ name: String, _ claims: [String: JSONValue]) throws(JOSEError) -> Double? {
        guard let claim = claims[name] else { return nil }
        guard let seconds = claim.numberValue, abs(seconds) <= NumericDate.maximum else {
            throw JOSEError(.numberOutOfRange, "\(name) is no number of seconds since 1970")
        }
        return seconds
    }
}
