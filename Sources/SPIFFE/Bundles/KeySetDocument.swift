import X509

/// A JWK Set that has been parsed but whose keys have not: what both kinds of bundle are read from.
struct KeySetDocument {
    let members: [String: JSONValue]
    private let keys: [JSONValue]

    init(_ trustDomain: TrustDomain, _ json: [UInt8]) throws(BundleError) {
        let value: JSONValue
        do throws(JOSEError) {
            value = try JSONValue(parsing: json)
        } catch {
            throw BundleError(.malformed, trustDomain, error.message)
        }
        guard let members = value.objectValue else {
            throw BundleError(.malformed, trustDomain, "it is no JSON object; expected a JWK Set")
        }
        // An empty array revokes everything; an absent one is a broken document (BND-02, BND-03).
        guard let keys = members["keys"]?.arrayValue else {
            throw BundleError(.noKeys, trustDomain, "it has no array \"keys\"")
        }
        self.members = members
        self.keys = keys
    }

    /// Hands each key to the closure, which returns or throws why it cannot be used.
    func forEachKey(
        _ onIgnored: (String) -> Void, _ read: ([String: JSONValue]) throws(JOSEError) -> String?
    ) {
        for (index, key) in self.keys.enumerated() {
            guard let members = key.objectValue else {
                onIgnored("key \(index) ignored: it is no JSON object")
                continue
            }
            do throws(JOSEError) {
                if let reason = try read(members) { onIgnored("key \(index) ignored: \(reason)") }
            } catch {
                onIgnored("key \(index) ignored: \(error.message)")
            }
        }
    }

    /// Reads a JWT authority, whatever its `use`.
    static func jwtAuthority(
        _ members: [String: JSONValue]
    ) throws(JOSEError) -> (keyID: String, key: JWTVerificationKey) {
        guard let keyID = members["kid"]?.stringValue, !keyID.isEmpty else {
            throw JOSEError(.malformedKey, "JWK has no kid")
        }
        return (keyID, try JSONWebKey.verificationKey(from: members))
    }

    /// Reads the DER of an X.509 authority: the first `x5c` value and no other (X509-SVID §6.2).
    static func x509Authority(_ members: [String: JSONValue]) throws(JOSEError) -> [UInt8] {
        guard let type = members["kty"]?.stringValue, ["EC", "RSA", "OKP"].contains(type) else {
            throw JOSEError(.unsupportedKeyType, "JWK has no known kty")
        }
        guard let first = members["x5c"]?.arrayValue?.first?.stringValue else {
            throw JOSEError(.malformedKey, "JWK has no x5c")
        }
        return try Base64.decode(first)
    }
}
