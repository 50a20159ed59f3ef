import Foundation
public import SPIFFE
import SwiftProtobuf
package import WorkloadAPIProto

/// What the Workload API says about a JWT-SVID that it found valid.
public struct ValidatedJWTSVID: Sendable, Equatable {
    /// Whom the token speaks for.
    public let id: SPIFFEID
    /// The claims that the server shows; `sub`, `aud` and `exp` are always among them. Numbers are
    /// doubles on this wire.
    public let claims: [String: JSONValue]

    init(_ message: WorkloadAPIProto.ValidateJWTSVIDResponse) throws(WorkloadAPIError) {
        guard !message.spiffeID.isEmpty, message.hasClaims else {
            throw WorkloadAPIError(message: "ValidateJWTSVIDResponse lacks spiffe_id or claims")
        }
        do throws(SPIFFEIDError) {
            self.id = try SPIFFEID(message.spiffeID)
        } catch {
            throw WorkloadAPIError(message: "ValidateJWTSVIDResponse: \(error)", cause: error)
        }
        self.claims = message.claims.fields.mapValues(JSONValue.init(_:))
    }
}

/// Reads the messages about JWT-SVIDs; nothing of one is used when a part of it breaks a rule.
package enum JWTMessages {
    /// The SVIDs of a message, in the server's order.
    ///
    /// - Throws: ``WorkloadAPIError`` `invalidResponse`.
    package static func svids(
        _ message: WorkloadAPIProto.JWTSVIDResponse
    ) throws(WorkloadAPIError) -> [SPIFFE.JWTSVID] {
        guard !message.svids.isEmpty else {
            throw WorkloadAPIError(message: "JWTSVIDResponse has no SVID")
        }
        var svids: [SPIFFE.JWTSVID] = []
        var hints: Set<[UInt8]> = []
        for entry in message.svids {
            guard !entry.spiffeID.isEmpty, !entry.svid.isEmpty else {
                throw WorkloadAPIError(
                    message: "JWTSVID in JWTSVIDResponse lacks spiffe_id or svid")
            }
            let svid: SPIFFE.JWTSVID
            do throws(JWTSVIDError) {
                svid = try SPIFFE.JWTSVID.unverified(entry.svid, hint: entry.hint)
            } catch {
                throw WorkloadAPIError(
                    message: "JWTSVID of \(WorkloadAPIError.quoted(entry.spiffeID)): \(error)",
                    cause: error)
            }
            guard svid.id.string.utf8.elementsEqual(entry.spiffeID.utf8) else {
                throw WorkloadAPIError(
                    message:
                        "spiffe_id \(WorkloadAPIError.quoted(entry.spiffeID)) is not the subject "
                        + "of its token, \(svid.id)")
            }
            guard svid.hint.isEmpty || hints.insert(Array(svid.hint.utf8)).inserted else {
                continue
            }
            svids.append(svid)
        }
        return svids
    }

    /// The bundles of a message.
    ///
    /// - Throws: ``WorkloadAPIError`` `invalidResponse`.
    package static func bundles(
        _ message: WorkloadAPIProto.JWTBundlesResponse
    ) throws(WorkloadAPIError) -> JWTBundleSet {
        guard !message.bundles.isEmpty else {
            throw WorkloadAPIError(message: "JWTBundlesResponse has no bundle")
        }
        var bundles = JWTBundleSet()
        for (key, jwks) in message.bundles {
            let trustDomain = try BundleKey.trustDomain(key)
            do throws(BundleError) {
                bundles.set(try JWTBundle(trustDomain: trustDomain, jwks: [UInt8](jwks)))
            } catch {
                throw WorkloadAPIError(
                    message: "JWT bundle of \(trustDomain): \(error)", cause: error)
            }
        }
        return bundles
    }
}

extension JSONValue {
    fileprivate init(_ value: Google_Protobuf_Value) {
        switch value.kind {
        case .boolValue(let value): self = .bool(value)
        case .numberValue(let value): self = .double(value)
        case .stringValue(let value): self = .string(value)
        case .listValue(let list): self = .array(list.values.map(JSONValue.init(_:)))
        case .structValue(let object): self = .object(object.fields.mapValues(JSONValue.init(_:)))
        case .nullValue, nil: self = .null
        }
    }
}
