package import SPIFFE

/// One JWT-SVID to issue.
package struct JWTIssuance: Sendable {
    package let spiffeID: SPIFFEID
    /// As asked for; empty strings are dropped.
    package let audience: [String]
    /// Seconds; 0 means the default. Capped by the authority's own end.
    package var ttl: Int32
    package var includesJTI: Bool
    /// What it is issued for.
    package let origin: IssuanceOrigin

    package init(
        spiffeID: SPIFFEID, audience: [String], ttl: Int32 = 0, includesJTI: Bool = false,
        origin: IssuanceOrigin
    ) {
        self.spiffeID = spiffeID
        self.audience = audience
        self.ttl = ttl
        self.includesJTI = includesJTI
        self.origin = origin
    }
}

package struct IssuedJWTSVID: Sendable {
    package let spiffeID: SPIFFEID
    package let token: String
    /// Unix seconds.
    package let issuedAt: Int64
    package let expiresAt: Int64
}

/// The claims of a JWT-SVID, in the fixed order in which they are signed.
struct JWTClaims {
    let subject: String
    let audience: [String]
    let issuedAt: Int64
    let expiresAt: Int64
    let issuer: String?
    let tokenID: String
    /// The place in the status list, if any.
    let status: StatusReference?

    var json: [UInt8] {
        var text = "{\"aud\":["
        for (index, value) in self.audience.enumerated() {
            if index > 0 { text += "," }
            Self.append(value, to: &text)
        }
        text += "],\"exp\":\(self.expiresAt),\"iat\":\(self.issuedAt)"
        if let issuer {
            text += ",\"iss\":"
            Self.append(issuer, to: &text)
        }
        if !self.tokenID.isEmpty { text += ",\"jti\":\"\(self.tokenID)\"" }
        if let status {
            text += ",\"status\":{\"status_list\":{\"idx\":\(status.index),\"uri\":"
            Self.append(status.uri, to: &text)
            text += "}}"
        }
        text += ",\"sub\":"
        Self.append(self.subject, to: &text)
        text += "}"
        return Array(text.utf8)
    }

    private static func append(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case _ where scalar.value < 0x20:
                let code = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - code.count) + code
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
