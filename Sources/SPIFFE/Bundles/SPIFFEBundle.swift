public import Foundation
import X509

/// A key that signs JWT-SVIDs, as a trust domain publishes it.
public struct JWTAuthorityKey: Sendable, Hashable {
    /// The `kid`, unique in its bundle.
    public let keyID: String
    /// The key as a DER SubjectPublicKeyInfo.
    public let publicKeyDER: [UInt8]
    /// When the key stops signing; nil when unknown. Not part of the published document.
    public let expiresAt: Date?

    /// Takes the parts as they are; ``SPIFFEBundle`` checks them.
    public init(keyID: String, publicKeyDER: [UInt8], expiresAt: Date? = nil) {
        self.keyID = keyID
        self.publicKeyDER = publicKeyDER
        self.expiresAt = expiresAt
    }
}

/// A key that signs WIT-SVIDs, as a trust domain publishes it; members as ``JWTAuthorityKey``.
public struct WITAuthorityKey: Sendable, Hashable {
    /// The `kid`, unique in its bundle, JWT authorities included.
    public let keyID: String
    /// The key as a DER SubjectPublicKeyInfo.
    public let publicKeyDER: [UInt8]
    /// When the key stops signing; nil when unknown. Not part of the published document.
    public let expiresAt: Date?

    /// Takes the parts as they are; ``SPIFFEBundle`` checks them.
    public init(keyID: String, publicKeyDER: [UInt8], expiresAt: Date? = nil) {
        self.keyID = keyID
        self.publicKeyDER = publicKeyDER
        self.expiresAt = expiresAt
    }
}

/// All that a trust domain publishes: its X.509, JWT and WIT authorities, a sequence number and a hint.
///
/// Valid by construction. A bundle that takes another's place replaces it whole: authorities that it
/// leaves out are revoked, and none at all means that every SVID is invalid (SPIFFE Trust Domain and
/// Bundle §3, §4.1.3).
public struct SPIFFEBundle: Sendable, Equatable {
    /// The trust domain; told by whoever fetched the document, never guessed from it.
    public let trustDomain: TrustDomain
    /// The X.509 authorities, prepared for verification.
    public let x509Bundle: X509Bundle
    /// The JWT authorities, prepared for verification.
    public let jwtBundle: JWTBundle
    /// The WIT authorities, prepared for verification.
    public let witBundle: WITBundle
    /// The JWT authorities in the order of the document.
    public let jwtAuthorities: [JWTAuthorityKey]
    /// The WIT authorities in the order of the document.
    public let witAuthorities: [WITAuthorityKey]
    /// How often to look for a new bundle, as the publisher hints; any value, also negative. Poll by
    /// ``refreshInterval(default:atLeast:atMost:)``.
    public let refreshHint: Duration?
    /// Grows whenever the content changes; nil when the publisher does not say.
    public let sequenceNumber: UInt64?

    /// The X.509 authorities in DER.
    public var x509Authorities: [[UInt8]] { self.x509Bundle.authoritiesDER }

    /// Makes a bundle to publish.
    ///
    /// - Throws: ``BundleError`` `malformedAuthority` or `keyID`.
    public init(
        trustDomain: TrustDomain, x509Authorities: [[UInt8]] = [],
        jwtAuthorities: [JWTAuthorityKey] = [], witAuthorities: [WITAuthorityKey] = [],
        refreshHint: Duration? = nil, sequenceNumber: UInt64? = nil
    ) throws(BundleError) {
        let x509Bundle: X509Bundle
        do throws(X509SVIDError) {
            x509Bundle = try X509Bundle(trustDomain: trustDomain, authoritiesDER: x509Authorities)
        } catch {
            throw BundleError(.malformedAuthority, trustDomain, error.message)
        }
        var jwtKeys: [String: JWTVerificationKey] = [:]
        var witKeys: [String: JWTVerificationKey] = [:]
        do throws(JOSEError) {
            for authority in x509Bundle.authorities {
                _ = try JSONWebKey.members(of: authority.publicKey)
            }
            for authority in jwtAuthorities {
                let key = try JWTVerificationKey(publicKeyDER: authority.publicKeyDER)
                guard !authority.keyID.isEmpty,
                    jwtKeys.updateValue(key, forKey: authority.keyID) == nil
                else {
                    throw JOSEError(.malformedKey, "")
                }
            }
            for authority in witAuthorities {
                let key = try JWTVerificationKey(publicKeyDER: authority.publicKeyDER)
                guard !authority.keyID.isEmpty, jwtKeys[authority.keyID] == nil,
                    witKeys.updateValue(key, forKey: authority.keyID) == nil
                else {
                    throw JOSEError(.malformedKey, "")
                }
            }
        } catch {
            if error.message.isEmpty {
                throw BundleError(
                    .keyID, trustDomain,
                    "the key ID of a JWT or WIT authority is empty or occurs twice")
            }
            throw BundleError(.malformedAuthority, trustDomain, error.message)
        }
        self.trustDomain = trustDomain
        self.x509Bundle = x509Bundle
        self.jwtBundle = JWTBundle(trustDomain: trustDomain, authorities: jwtKeys)
        self.witBundle = WITBundle(trustDomain: trustDomain, authorities: witKeys)
        self.jwtAuthorities = jwtAuthorities
        self.witAuthorities = witAuthorities
        self.refreshHint = refreshHint
        self.sequenceNumber = sequenceNumber
    }

    /// Reads a published bundle.
    ///
    /// Lenient where the standard asks for it: members that nobody defined are ignored, and a key that
    /// cannot be used (unknown `kty`, missing or unknown `use`, no `x5c`, no `kid` …) is left out alone.
    /// A hint that is no whole number counts as none. Names that occur twice fail the document.
    ///
    /// - Parameters:
    ///   - trustDomain: Whose bundle it is; told by whoever fetched it.
    ///   - json: The document; the caller bounds its size.
    ///   - onIgnoredKey: Told why a key was left out, for a log.
    /// - Throws: ``BundleError`` `malformed`, `noKeys` or `sequence`.
    public init(
        trustDomain: TrustDomain, json: [UInt8], onIgnoredKey: (String) -> Void = { _ in }
    ) throws(BundleError) {
        let document = try KeySetDocument(trustDomain, json)
        var x509Authorities: [[UInt8]] = []
        var jwtAuthorities: [JWTAuthorityKey] = []
        var witAuthorities: [WITAuthorityKey] = []
        var keyIDs: Set<String> = []
        document.forEachKey(onIgnoredKey) { members throws(JOSEError) in
            switch members["use"]?.stringValue {
            case "x509-svid":
                let der = try KeySetDocument.x509Authority(members)
                guard let certificate = try? X509SVIDVerifier.parse(der) else {
                    return "x5c is no certificate"
                }
                _ = try JSONWebKey.members(of: certificate.publicKey)
                x509Authorities.append(der)
            case "jwt-svid":
                let (keyID, key) = try KeySetDocument.jwtAuthority(members)
                guard keyIDs.insert(keyID).inserted else {
                    return "kid \(SPIFFEIDError.quoted(keyID)) occurs twice"
                }
                jwtAuthorities.append(JWTAuthorityKey(keyID: keyID, publicKeyDER: key.publicKeyDER))
            case "wit-svid":
                let (keyID, key) = try KeySetDocument.jwtAuthority(members)
                guard keyIDs.insert(keyID).inserted else {
                    return "kid \(SPIFFEIDError.quoted(keyID)) occurs twice"
                }
                witAuthorities.append(WITAuthorityKey(keyID: keyID, publicKeyDER: key.publicKeyDER))
            case nil: return "it has no use"
            case let use?: return "use \(SPIFFEIDError.quoted(use)) is unknown"
            }
            return nil
        }
        var sequence: UInt64?
        if let value = document.members["spiffe_sequence"] {
            // Not dropped silently: it guards against an older bundle being served again.
            guard let number = value.unsignedValue else {
                throw BundleError(
                    .sequence, trustDomain, "spiffe_sequence is no whole number of 64 bits")
            }
            sequence = number
        }
        try self.init(
            trustDomain: trustDomain, x509Authorities: x509Authorities,
            jwtAuthorities: jwtAuthorities, witAuthorities: witAuthorities,
            refreshHint: SPIFFEBundle.refreshHint(
                document.members["spiffe_refresh_hint"], onIgnoredKey),
            sequenceNumber: sequence)
    }

    private static func refreshHint(_ value: JSONValue?, _ onIgnored: (String) -> Void) -> Duration?
    {
        switch value {
        case nil: return nil
        // What is written for a time that has passed is 0, too.
        case .int(let seconds): return .seconds(max(0, seconds))
        case .uint: return .seconds(Int64.max)
        default:
            onIgnored("spiffe_refresh_hint ignored: it is no whole number of seconds")
            return nil
        }
    }

    /// The bundle as a document to publish, in the strictest form: one entry per authority, each with
    /// `use` and the members of its key, X.509 authorities with one `x5c` value and no `kid`. Equal
    /// bundles give equal bytes.
    public func json() -> [UInt8] { JSONValue.object(self.document).serialized() }

    /// The members of the document.
    var document: [String: JSONValue] {
        var keys: [JSONValue] = []
        for (certificate, der) in zip(self.x509Bundle.authorities, self.x509Authorities) {
            // Never nil: the initialisers have tried.
            guard var members = try? JSONWebKey.members(of: certificate.publicKey) else { continue }
            members["use"] = "x509-svid"
            members["x5c"] = .array([.string(Base64.encode(der))])
            keys.append(.object(members))
        }
        for authority in self.jwtAuthorities {
            guard let key = self.jwtBundle.authorities[authority.keyID] else { continue }
            var members = JSONWebKey.members(of: key)
            members["use"] = "jwt-svid"
            members["kid"] = .string(authority.keyID)
            keys.append(.object(members))
        }
        for authority in self.witAuthorities {
            guard let key = self.witBundle.authorities[authority.keyID] else { continue }
            var members = JSONWebKey.members(of: key)
            members["use"] = "wit-svid"
            members["kid"] = .string(authority.keyID)
            keys.append(.object(members))
        }
        var document: [String: JSONValue] = ["keys": .array(keys)]
        if let number = self.sequenceNumber {
            document["spiffe_sequence"] = Int64(exactly: number).map(JSONValue.int) ?? .uint(number)
        }
        if let hint = self.refreshHint {
            let (seconds, fraction) = hint.components
            document["spiffe_refresh_hint"] = .int(max(0, fraction > 0 ? seconds + 1 : seconds))
        }
        return document
    }

    /// How long to wait before looking for a new bundle: the hint, or a default without one, kept within
    /// bounds so that no hint causes a busy loop or stops refreshing.
    public func refreshInterval(
        default fallback: Duration = .seconds(300), atLeast minimum: Duration = .seconds(60),
        atMost maximum: Duration = .seconds(86400)
    ) -> Duration {
        min(max(self.refreshHint ?? fallback, minimum), maximum)
    }
}
