import Crypto
package import SPIFFE

/// What a trust domain says of itself to a partner who is to federate with it: where its bundle is, how the
/// endpoint proves itself, and by which fingerprints the right bundle is known.
///
/// Travels as one line; see ``InviteLine``.
package struct Invite: Sendable, Hashable {
    /// How the bundle endpoint proves who it is.
    package enum Profile: Sendable, Hashable {
        case httpsWeb
        case httpsSPIFFE(endpointID: SPIFFEID)
    }

    /// The trust domain that invites.
    package let trustDomain: TrustDomain
    /// The `https` URL of its bundle endpoint.
    package let bundleEndpointURL: String
    package let profile: Profile
    /// ``BundleFingerprint/of(_:)`` of the bundle when the invite was made.
    package let bundleFingerprint: [UInt8]
    /// ``BundleFingerprint/of(x509Authority:)`` of each X.509 authority that the bundle had then; in order, one at least.
    package let authorityFingerprints: [[UInt8]]
    /// Unix seconds; not valid at this time any more.
    package let expiresAt: Int64
    /// 16 random bytes: no two invites are the same.
    package let nonce: [UInt8]

    /// The longest URL, in bytes.
    package static let maximumURLLength = 2_048
    /// The most authorities that are named.
    package static let maximumAuthorities = 16
    /// Bytes of ``nonce``.
    package static let nonceLength = 16

    /// Makes the content of an invite to the owner of this bundle.
    ///
    /// - Throws: ``InviteError`` `malformed` when one of the parts cannot be in an invite.
    package init(
        to bundle: SPIFFEBundle, bundleEndpointURL: String, profile: Profile, expiresAt: Int64,
        nonce: [UInt8]
    ) throws(InviteError) {
        try self.init(
            trustDomain: bundle.trustDomain, bundleEndpointURL: bundleEndpointURL,
            profile: profile, bundleFingerprint: BundleFingerprint.of(bundle),
            authorityFingerprints: bundle.x509Authorities.map {
                BundleFingerprint.of(x509Authority: $0)
            }, expiresAt: expiresAt, nonce: nonce)
    }

    init(
        trustDomain: TrustDomain, bundleEndpointURL: String, profile: Profile,
        bundleFingerprint: [UInt8], authorityFingerprints: [[UInt8]], expiresAt: Int64,
        nonce: [UInt8]
    ) throws(InviteError) {
        func refuse(_ reason: String) -> InviteError { InviteError(.malformed, reason) }
        let url = bundleEndpointURL
        guard url.utf8.count <= Self.maximumURLLength else {
            throw refuse(
                "bundle endpoint URL has \(url.utf8.count) bytes; at most \(Self.maximumURLLength)")
        }
        guard Self.isAcceptable(url: url) else {
            throw refuse(
                "bundle endpoint URL \(quoted(url)) is not accepted; expected https://host[:port]/path without "
                    + "user information and fragment")
        }
        if case .httpsSPIFFE(let id) = profile, id.path.isEmpty {
            throw refuse(
                "endpoint SPIFFE ID \(quoted(id.string)) has no path; expected one such as \(id.string)/spire/server"
            )
        }
        guard bundleFingerprint.count == BundleFingerprint.length,
            authorityFingerprints.allSatisfy({ $0.count == BundleFingerprint.length })
        else { throw refuse("a fingerprint is no SHA-256") }
        guard (1...Self.maximumAuthorities).contains(authorityFingerprints.count),
            Set(authorityFingerprints).count == authorityFingerprints.count
        else {
            throw refuse(
                "invite has \(authorityFingerprints.count) X.509 authorities; expected 1 to "
                    + "\(Self.maximumAuthorities), each once")
        }
        guard (1...Self.lastSecond).contains(expiresAt) else {
            throw refuse("expiry is no time between 1970 and 9999")
        }
        guard nonce.count == Self.nonceLength else {
            throw refuse("nonce has \(nonce.count) bytes; expected \(Self.nonceLength)")
        }
        self.trustDomain = trustDomain
        self.bundleEndpointURL = url
        self.profile = profile
        self.bundleFingerprint = bundleFingerprint
        self.authorityFingerprints = authorityFingerprints
        self.expiresAt = expiresAt
        self.nonce = nonce
    }

    /// Whose name the signature is made in: an identity of the trust domain that is there for nothing else.
    package static func signerID(of trustDomain: TrustDomain) throws(SPIFFEIDError) -> SPIFFEID {
        try SPIFFEID(trustDomain: trustDomain, path: "/cygnet/federation/invite")
    }

    /// The audience that binds the signature to exactly this invite. No service answers to it.
    package var signatureAudience: String { Self.signatureAudience(self.payload) }

    private static let audiencePrefix = "cygnet-federation-invite:"

    static func signatureAudience(_ payload: [UInt8]) -> String {
        Self.audiencePrefix + hex(SHA256.hash(data: payload))
    }

    /// Whether a JWT-SVID of that ID and audience can be the signature of an invite, and is good for nothing else.
    package static func isSignature(_ id: SPIFFEID, audience: [String]) -> Bool {
        id == (try? Self.signerID(of: id.trustDomain)) && audience.count == 1
            && audience.allSatisfy { $0.hasPrefix(Self.audiencePrefix) }
    }

    private static let lastSecond: Int64 = 253_402_300_799

    private static func isAcceptable(url: String) -> Bool {
        guard url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), url.hasPrefix("https://"),
            !url.contains("#"), !url.contains("\\"), !url.contains("\"")
        else { return false }
        let rest = url.dropFirst("https://".count)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard !authority.isEmpty, !authority.contains("@"), authority.first != ":" else {
            return false
        }
        // The port, behind the bracket of an IPv6 address if there is one.
        let afterHost = authority.lastIndex(of: "]").map { authority[$0...].dropFirst() }
        let port = afterHost ?? authority.firstIndex(of: ":").map { authority[$0...] } ?? ""
        guard port.isEmpty || port.first == ":" else { return false }
        return port.isEmpty
            || UInt16(port.dropFirst()).map { $0 > 0 && port.dropFirst().allSatisfy(\.isNumber) }
                == true
    }
}
