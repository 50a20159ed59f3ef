package import SPIFFE

/// What OpenID Connect discovery says of an issuer of JWT-SVIDs (OpenID Connect Discovery 1.0 §3).
///
/// There is nobody to log in and no token to be asked for over HTTP, so it says only who the issuer is, where its
/// keys are, and which signatures it makes.
package struct DiscoveryDocument: Sendable, Hashable {
    /// JSON in UTF-8.
    package let bytes: [UInt8]
    /// Of the bytes, in its quotes.
    package let entityTag: String

    /// - Parameters:
    ///   - issuer: The value that tokens have as `iss`.
    ///   - keysURL: Where the keys are.
    package init(issuer: String, keysURL: String) {
        let document: JSONValue = [
            "issuer": .string(issuer),
            "jwks_uri": .string(keysURL),
            // Empty as SPIRE has it: some readers insist that it is there.
            "authorization_endpoint": "",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            // RS256 has to be there whichever keys are in use (§3); these are what servers sign with.
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "ES384"],
        ]
        self.bytes = document.serialized()
        self.entityTag = EntityTag.of(self.bytes)
    }
}

/// The keys that discovery points to: those of JWT-SVIDs and no others.
package struct DiscoveryKeySet: Sendable, Hashable {
    /// A JWK Set in UTF-8.
    package let bytes: [UInt8]
    /// Of the bytes, in its quotes.
    package let entityTag: String

    /// - Parameter setsKeyUse: Whether each key says `"use":"sig"`.
    package init(_ bundle: JWTBundle, setsKeyUse: Bool) {
        self.bytes = bundle.discoveryKeySet(use: setsKeyUse ? "sig" : nil)
        self.entityTag = EntityTag.of(self.bytes)
    }
}

/// Where the keys come from: the server's own store, or a server or agent that is asked now and then.
package protocol DiscoveryKeySource: Sendable {
    /// Changes whenever the keys do; nil as long as there are none.
    var version: UInt64? { get }
    /// The keys of now; nil when there are none or they cannot be used.
    func keys() -> JWTBundle?
}

/// The JWT authorities of the server's own bundle.
package struct DirectoryKeySource: DiscoveryKeySource {
    private let directory: Directory

    package init(_ directory: Directory) { self.directory = directory }

    package var version: UInt64? { self.directory.ownBundle?.sequenceNumber }

    /// An authority that cannot be read is left out.
    package func keys() -> JWTBundle? {
        guard let bundle = self.directory.ownBundle else { return nil }
        var authorities: [String: JWTVerificationKey] = [:]
        for authority in bundle.jwtAuthorities {
            authorities[authority.keyID] = try? JWTVerificationKey(
                publicKeyDER: authority.publicKeyDER)
        }
        return JWTBundle(trustDomain: bundle.trustDomain, authorities: authorities)
    }
}
