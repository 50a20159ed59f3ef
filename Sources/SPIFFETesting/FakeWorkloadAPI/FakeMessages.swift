import Foundation
package import SPIFFE
package import SPIFFEWorkloadAPI
import SwiftProtobuf
package import WorkloadAPIProto

extension X509SVIDResponse {
    /// The message for a context that has at least one SVID.
    package init(_ context: X509Context) {
        self.init()
        let own = Set(context.svids.map(\.id.trustDomain))
        self.svids = context.svids.map { svid in
            WorkloadAPIProto.X509SVID.with {
                $0.spiffeID = svid.id.string
                $0.x509Svid = Data(svid.concatenatedDER)
                $0.x509SvidKey = Data(svid.privateKeyDER)
                let bundle = context.bundles.x509Bundle(for: svid.id.trustDomain)
                $0.bundle = Data(bundle?.concatenatedDER ?? [])
                $0.hint = svid.hint
            }
        }
        for bundle in context.bundles.bundles.values where !own.contains(bundle.trustDomain) {
            self.federatedBundles[bundle.trustDomain.id.string] = Data(bundle.concatenatedDER)
        }
        self.crl = context.revocationLists.map { Data($0) }
    }
}

extension X509BundlesResponse {
    /// The message with the bundles of a context.
    package init(_ context: X509Context) {
        self.init()
        for bundle in context.bundles.bundles.values {
            self.bundles[bundle.trustDomain.id.string] = Data(bundle.concatenatedDER)
        }
        self.crl = context.revocationLists.map { Data($0) }
    }
}

extension JWTBundlesResponse {
    /// The message with these bundles.
    package init(_ bundles: JWTBundleSet) {
        self.init()
        for bundle in bundles.bundles.values {
            self.bundles[bundle.trustDomain.id.string] = Data(bundle.jwks())
        }
    }
}

extension ValidateJWTSVIDResponse {
    /// The answer for a token that is valid.
    init(_ svid: SPIFFE.JWTSVID) {
        self.init()
        self.spiffeID = svid.id.string
        self.claims = Google_Protobuf_Struct(
            fields: svid.claims.mapValues(Google_Protobuf_Value.init(_:)))
    }
}

extension Google_Protobuf_Value {
    fileprivate init(_ value: JSONValue) {
        self.init()
        switch value {
        case .null: self.nullValue = .nullValue
        case .bool(let value): self.boolValue = value
        case .int(let value): self.numberValue = Double(value)
        case .uint(let value): self.numberValue = Double(value)
        case .double(let value): self.numberValue = value
        case .string(let value): self.stringValue = value
        case .array(let values):
            self.listValue = .init(values: values.map(Google_Protobuf_Value.init(_:)))
        case .object(let members):
            self.structValue = .init(fields: members.mapValues(Google_Protobuf_Value.init(_:)))
        }
    }
}
