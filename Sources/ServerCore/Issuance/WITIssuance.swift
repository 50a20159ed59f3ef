package import SPIFFE

/// One WIT-SVID to issue. The caller is authenticated and the entry resolved already.
package struct WITIssuance: Sendable {
    package let spiffeID: SPIFFEID
    /// The workload's key, which the token will be bound to.
    package let confirmationKey: ConfirmationKey
    /// Seconds; 0 means the default. Capped by the authority's own end.
    package let ttl: Int32
    /// What it is issued for.
    package let origin: IssuanceOrigin

    package init(
        spiffeID: SPIFFEID, confirmationKey: ConfirmationKey, ttl: Int32 = 0, origin: IssuanceOrigin
    ) {
        self.spiffeID = spiffeID
        self.confirmationKey = confirmationKey
        self.ttl = ttl
        self.origin = origin
    }
}

/// An issued WIT-SVID, without its key.
package struct IssuedWITSVID: Sendable {
    package let spiffeID: SPIFFEID
    package let token: String
    /// Unix seconds.
    package let issuedAt: Int64
    package let expiresAt: Int64
}

extension ConfirmationKey {
    /// Reads a workload's public key as requests carry it.
    ///
    /// - Parameters:
    ///   - publicKeyDER: A SubjectPublicKeyInfo.
    ///   - algorithm: The JWS algorithm that the key is to be used with; must be given, because an RSA key
    ///     fits six.
    /// - Throws: ``ServerError`` `invalidArgument`.
    package init(publicKeyDER: [UInt8], algorithm: String) throws(ServerError) {
        guard !publicKeyDER.isEmpty else {
            throw ServerError(.invalidArgument, "missing public key")
        }
        guard publicKeyDER.count <= 4096 else {
            throw ServerError(
                .invalidArgument,
                "public key has \(publicKeyDER.count) bytes; at most 4096 are accepted")
        }
        guard !algorithm.isEmpty else {
            throw ServerError(.invalidArgument, "missing signing algorithm")
        }
        guard let algorithm = JWSAlgorithm(rawValue: algorithm) else {
            let known = JWSAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")
            throw ServerError(
                .invalidArgument,
                "signing algorithm \(quoted(algorithm)) rejected; accepted are \(known)")
        }
        do throws(JOSEError) {
            try self.init(
                publicKey: try JWTVerificationKey(publicKeyDER: publicKeyDER), algorithm: algorithm)
        } catch {
            throw ServerError(.invalidArgument, "public key rejected: \(error.message)")
        }
    }
}

extension Issuer {
    /// Refuses when WIT-SVIDs are not enabled, before a request is looked at.
    ///
    /// - Throws: ``ServerError`` `unimplemented`.
    package func requireWITSVIDs() throws(ServerError) {
        guard self.issuesWITSVIDs else {
            throw ServerError(.unimplemented, "WIT-SVIDs are not enabled")
        }
    }

    /// The claims of a WIT-SVID. No `aud`: a token for somebody would be a bearer token (WIT-SVID §3.8).
    static func claims(
        of issuance: WITIssuance, issuedAt: Int64, expiresAt: Int64, issuer: String?,
        status: StatusReference?
    ) -> [UInt8] {
        var claims: [String: JSONValue] = [
            "sub": .string(issuance.spiffeID.string), "iat": .int(issuedAt), "exp": .int(expiresAt),
            "cnf": ["jwk": .object(issuance.confirmationKey.jwk)],
        ]
        if let issuer { claims["iss"] = .string(issuer) }
        if let status {
            claims["status"] = [
                "status_list": ["idx": .int(status.index), "uri": .string(status.uri)]
            ]
        }
        return JSONValue.object(claims).serialized()
    }
}
