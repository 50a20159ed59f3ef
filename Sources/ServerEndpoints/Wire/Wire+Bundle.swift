import ControlPlaneProto
import Foundation
import SPIFFE
import ServerCore
import SwiftProtobuf

extension Wire {
    /// A trust domain as a request names it: bare, or as the ID of something inside.
    static func trustDomain(
        _ name: String, field: String = "trust domain"
    ) throws(ServerError) -> TrustDomain {
        guard !name.isEmpty else { throw ServerError(.invalidArgument, "\(field) is missing") }
        do throws(SPIFFEIDError) {
            return try TrustDomain(nameOrID: name)
        } catch {
            throw ServerError(.invalidArgument, "invalid \(field): \(error.message)")
        }
    }

    /// Where a page of things that are ordered by trust domain begins; nil for the first.
    static func pageStart(afterDomain token: String) throws(ServerError) -> TrustDomain? {
        if token.isEmpty { return nil }
        guard let domain = try? TrustDomain(token) else {
            throw ServerError(
                .invalidArgument, "page token \(quoted(token)) is not one that this server gave out"
            )
        }
        return domain
    }

    /// A partner's bundle as a client gives it; which keys are acceptable is the core's to say.
    ///
    /// - Parameter parts: the others are left out, and not looked at.
    /// - Throws: ``ServerError`` `invalidArgument` for what is no bundle at all.
    static func foreignBundle(
        _ message: Spire_Api_Types_Bundle, parts: BundleRegistry.Parts = .all
    ) throws(ServerError) -> TrustBundle {
        var bundle = TrustBundle(trustDomain: try self.trustDomain(message.trustDomain))
        if parts.contains(.x509) {
            bundle.x509Authorities = self.x509Authorities(message.x509Authorities)
        }
        if parts.contains(.jwt) {
            bundle.jwtAuthorities = try self.jwtAuthorities(message.jwtAuthorities)
        }
        if parts.contains(.wit) {
            bundle.witAuthorities = message.witAuthorities.map { key in
                .init(
                    keyID: key.keyID, publicKeyDER: [UInt8](key.publicKey),
                    expiresAt: max(0, key.expiresAt), tainted: key.tainted)
            }
        }
        if parts.contains(.refreshHint) {
            guard message.refreshHint >= 0 else {
                throw ServerError(
                    .invalidArgument,
                    "refresh hint \(message.refreshHint) rejected: it must be 0 or more seconds")
            }
            bundle.refreshHint = message.refreshHint
        }
        if parts.contains(.sequence), message.sequenceNumber != 0 {
            bundle.foreignSequence = message.sequenceNumber
        }
        return bundle
    }

    static func x509Authorities(
        _ messages: [Spire_Api_Types_X509Certificate]
    ) -> [TrustBundle.X509AuthorityCertificate] {
        messages.map { .init(der: [UInt8]($0.asn1), tainted: $0.tainted) }
    }

    static func jwtAuthorities(
        _ messages: [Spire_Api_Types_JWTKey]
    ) throws(ServerError) -> [TrustBundle.JWTAuthorityKey] {
        var result: [TrustBundle.JWTAuthorityKey] = []
        for message in messages {
            guard !message.keyID.isEmpty else {
                throw ServerError(.invalidArgument, "JWT authority without key ID")
            }
            guard message.expiresAt >= 0 else {
                throw ServerError(
                    .invalidArgument,
                    "expiry \(message.expiresAt) of JWT authority \(quoted(message.keyID)) rejected: it is a Unix "
                        + "time, 0 meaning never")
            }
            result.append(
                .init(
                    keyID: message.keyID, publicKeyDER: [UInt8](message.publicKey),
                    expiresAt: message.expiresAt, tainted: message.tainted))
        }
        return result
    }

    static func message(_ key: TrustBundle.JWTAuthorityKey) -> Spire_Api_Types_JWTKey {
        .with {
            $0.publicKey = Data(key.publicKeyDER)
            $0.keyID = key.keyID
            $0.expiresAt = key.expiresAt
            $0.tainted = key.tainted
        }
    }

    /// What a mask names; nil means everything.
    static func parts(_ mask: Spire_Api_Types_BundleMask?) -> BundleRegistry.Parts {
        guard let mask else { return .all }
        var parts: BundleRegistry.Parts = []
        if mask.x509Authorities { parts.insert(.x509) }
        if mask.jwtAuthorities { parts.insert(.jwt) }
        if mask.witAuthorities { parts.insert(.wit) }
        if mask.refreshHint { parts.insert(.refreshHint) }
        if mask.sequenceNumber { parts.insert(.sequence) }
        return parts
    }

    static func mode(
        _ mode: Spire_Api_Server_Bundle_V1_BatchDeleteFederatedBundleRequest.Mode
    ) throws(ServerError) -> BundleDeletionMode {
        switch mode {
        case .restrict: return .restrict
        case .delete: return .delete
        case .dissociate: return .dissociate
        case .UNRECOGNIZED(let value):
            throw ServerError(
                .invalidArgument,
                "unknown deletion mode \(value); known are 0 (restrict), 1 (delete) and 2 (dissociate)"
            )
        }
    }
}
