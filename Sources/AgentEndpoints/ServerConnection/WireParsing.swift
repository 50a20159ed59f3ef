import AgentCore
import ControlPlaneProto
import Foundation
import Logging
import SPIFFE
import SwiftProtobuf

/// From the server's messages to the agent's own types. What makes no sense is left out, with a
/// line in the log: one bad entry must not cost the others.
enum WireParsing {
    static func entries(_ messages: [Spire_Api_Types_Entry], _ logger: Logger) -> [AuthorizedEntry]
    {
        messages.compactMap { message in
            do { return try AuthorizedEntry(message) } catch {
                logger.warning(
                    "ignored an entry from the server",
                    metadata: [LogKeys.entryID: "\(message.id)", LogKeys.error: "\(error)"])
                return nil
            }
        }
    }

    /// - Parameter limits: Of these bundles; one that is not named has none.
    static func bundles(
        _ messages: [Spire_Api_Types_Bundle], limits: [Cygnet_Sync_V1_BundleLimits] = [],
        _ logger: Logger
    ) -> [AgentBundle] {
        let limits = Dictionary(limits.map { ($0.trustDomain, $0) }) { first, _ in first }
        return messages.compactMap { message in
            do {
                var bundle = try AgentBundle(message)
                bundle.limits = limits[bundle.trustDomain.name].map {
                    self.limits($0, of: bundle.trustDomain, logger)
                }
                return bundle
            } catch {
                logger.warning(
                    "ignored a bundle from the server",
                    metadata: ["trust_domain": "\(message.trustDomain)", LogKeys.error: "\(error)"])
                return nil
            }
        }
    }

    /// A pattern that cannot be read accepts nothing.
    private static func limits(
        _ message: Cygnet_Sync_V1_BundleLimits, of trustDomain: TrustDomain, _ logger: Logger
    ) -> TrustDomainLimits {
        let (limits, problem) = TrustDomainLimits.reading(
            of: trustDomain, allowsX509: message.x509, allowsJWT: message.jwt,
            acceptedPaths: message.limitsPaths ? message.acceptedPaths : nil)
        if let problem {
            logger.error(
                "a partner's limits cannot be read; what cannot be read accepts nothing",
                metadata: [
                    LogKeys.trustDomain: "\(trustDomain)", LogKeys.error: "\(problem.message)",
                ])
        }
        return limits
    }

    /// Whether what was asked for is done.
    static func recorded(_ status: Spire_Api_Types_Status) -> Result<Void, IssuanceRefusal> {
        status.code == 0 ? .success(()) : .failure(self.refusal(status))
    }

    static func chain(
        _ status: Spire_Api_Types_Status, _ svid: Spire_Api_Types_X509SVID, isSet: Bool
    ) -> Result<[[UInt8]], IssuanceRefusal> {
        guard status.code == 0, isSet else { return .failure(self.refusal(status)) }
        return .success(svid.certChain.map { [UInt8]($0) })
    }

    static func token(
        _ status: Spire_Api_Types_Status, _ svid: Spire_Api_Types_JWTSVID, isSet: Bool
    ) -> Result<IssuedJWTSVID, IssuanceRefusal> {
        guard status.code == 0, isSet else { return .failure(self.refusal(status)) }
        do {
            let parsed = try JWTSVID.unverified(svid.token)
            return .success(
                IssuedJWTSVID(
                    spiffeID: parsed.id, token: svid.token,
                    issuedAt: Date(timeIntervalSince1970: Double(svid.issuedAt)),
                    expiresAt: parsed.expiresAt, keyID: parsed.keyID))
        } catch {
            return .failure(IssuanceRefusal(code: 13, message: "unusable JWT-SVID: \(error)"))
        }
    }

    static func witToken(
        _ status: Spire_Api_Types_Status, _ svid: Spire_Api_Types_WITSVID, isSet: Bool
    ) -> Result<String, IssuanceRefusal> {
        guard status.code == 0, isSet else { return .failure(self.refusal(status)) }
        return .success(svid.token)
    }

    private static func refusal(_ status: Spire_Api_Types_Status) -> IssuanceRefusal {
        IssuanceRefusal(
            code: status.code == 0 ? 13 : Int(status.code),
            message: status.message.isEmpty ? "no reason given" : String(status.message.prefix(200))
        )
    }
}

extension AuthorizedEntry {
    /// - Throws: when the SPIFFE ID, a selector or a trust domain is malformed.
    init(_ message: Spire_Api_Types_Entry) throws {
        self.init(
            id: message.id,
            spiffeID: try SPIFFEID(
                trustDomain: TrustDomain(message.spiffeID.trustDomain), path: message.spiffeID.path),
            selectors: try message.selectors.map { try Selector(type: $0.type, value: $0.value) },
            federatesWith: try message.federatesWith.map { try TrustDomain(nameOrID: $0) },
            isAdmin: message.admin, isDownstream: message.downstream, isStored: message.storeSvid,
            hint: message.hint, revision: message.revisionNumber, createdAt: message.createdAt,
            isSignedOnDemand: message.additionalAttributes.disableX509SvidPrefetch,
            includesJTI: message.additionalAttributes.jwtSvidIncludeJti,
            revokesOnExit: message.additionalAttributes.revokeOnExit)
    }

    /// The fields an agent needs, for servers that are polled.
    static var mask: Spire_Api_Types_EntryMask {
        .with {
            $0.spiffeID = true
            $0.selectors = true
            $0.federatesWith = true
            $0.admin = true
            $0.downstream = true
            $0.revisionNumber = true
            $0.storeSvid = true
            $0.hint = true
            $0.createdAt = true
            $0.additionalAttributes = true
        }
    }
}

extension AgentBundle {
    /// - Throws: when the trust domain is malformed.
    init(_ message: Spire_Api_Types_Bundle) throws {
        self.init(
            trustDomain: try TrustDomain(nameOrID: message.trustDomain),
            x509Authorities: message.x509Authorities.map {
                X509Authority(der: [UInt8]($0.asn1), isTainted: $0.tainted)
            },
            jwtAuthorities: message.jwtAuthorities.map {
                JWTAuthority(
                    keyID: $0.keyID, publicKeyDER: [UInt8]($0.publicKey),
                    expiresAt: $0.expiresAt == 0
                        ? nil : Date(timeIntervalSince1970: Double($0.expiresAt)),
                    isTainted: $0.tainted)
            },
            witAuthorities: message.witAuthorities.map {
                WITAuthority(
                    keyID: $0.keyID, publicKeyDER: [UInt8]($0.publicKey),
                    expiresAt: $0.expiresAt == 0
                        ? nil : Date(timeIntervalSince1970: Double($0.expiresAt)),
                    isTainted: $0.tainted)
            },
            refreshHint: message.refreshHint > 0 ? .seconds(message.refreshHint) : nil,
            sequenceNumber: message.sequenceNumber)
    }
}
