import SPIFFE

// The payload is JSON with short names, written in one way only: what is parsed must come out the same when it is
// written again, so that nothing hides in spelling, order or members that nobody reads.
extension Invite {
    /// The bytes that are signed.
    package var payload: [UInt8] {
        var members: [String: JSONValue] = [
            "td": .string(self.trustDomain.name), "url": .string(self.bundleEndpointURL),
            "fp": .string(Base64URL.encode(self.bundleFingerprint)),
            "x5": .array(self.authorityFingerprints.map { .string(Base64URL.encode($0)) }),
            "exp": .int(self.expiresAt), "n": .string(Base64URL.encode(self.nonce)),
        ]
        switch self.profile {
        case .httpsWeb: members["p"] = "https_web"
        case .httpsSPIFFE(let id):
            members["p"] = "https_spiffe"
            members["id"] = .string(id.string)
        }
        return JSONValue.object(members).serialized()
    }

    init(payload: [UInt8]) throws(InviteError) {
        let value: JSONValue
        do throws(JOSEError) {
            value = try JSONValue(parsing: payload)
        } catch {
            throw InviteError(.malformed, "content of the invite: \(error.message)")
        }
        guard let exp = value["exp"], case .int(let expiresAt) = exp else {
            throw InviteError(.malformed, "invite has no expiry \"exp\"")
        }
        let trustDomain = try Self.parsed("td", value) { text throws(SPIFFEIDError) in
            try TrustDomain(text)
        }
        let profile: Profile
        switch value["p"]?.stringValue {
        case "https_web": profile = .httpsWeb
        case "https_spiffe":
            profile = .httpsSPIFFE(
                endpointID: try Self.parsed("id", value) { text throws(SPIFFEIDError) in
                    try SPIFFEID(text)
                })
        default:
            throw InviteError(
                .malformed, "invite has no known profile; expected https_web or https_spiffe")
        }
        guard let authorities = value["x5"]?.arrayValue,
            authorities.count <= Self.maximumAuthorities
        else {
            throw InviteError(
                .malformed,
                "invite has no list \"x5\" of at most \(Self.maximumAuthorities) authorities")
        }
        var fingerprints: [[UInt8]] = []
        for authority in authorities { fingerprints.append(try Self.bytes("x5", authority)) }
        try self.init(
            trustDomain: trustDomain, bundleEndpointURL: try Self.text("url", value),
            profile: profile, bundleFingerprint: try Self.bytes("fp", value["fp"]),
            authorityFingerprints: fingerprints, expiresAt: expiresAt,
            nonce: try Self.bytes("n", value["n"]))
        guard self.payload == payload else {
            throw InviteError(
                .malformed, "invite has members or a spelling that this version does not write")
        }
    }

    private static func text(_ name: String, _ value: JSONValue) throws(InviteError) -> String {
        guard let text = value[name]?.stringValue else {
            throw InviteError(.malformed, "invite has no text \"\(name)\"")
        }
        return text
    }

    private static func parsed<Value>(
        _ name: String, _ value: JSONValue, _ parse: (String) throws(SPIFFEIDError) -> Value
    ) throws(InviteError) -> Value {
        let text = try self.text(name, value)
        do throws(SPIFFEIDError) {
            return try parse(text)
        } catch {
            throw InviteError(.malformed, "\"\(name)\" of the invite: \(error.message)")
        }
    }

    private static func bytes(_ name: String, _ value: JSONValue?) throws(InviteError) -> [UInt8] {
        guard let text = value?.stringValue else {
            throw InviteError(.malformed, "invite has no bytes \"\(name)\"")
        }
        do throws(JOSEError) {
            return try Base64URL.decode(text)
        } catch {
            throw InviteError(.malformed, "\"\(name)\" of the invite: \(error.message)")
        }
    }
}
