import AgentCore
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import SPIFFE
import SPIFFEGRPC
import SwiftProtobuf
import WorkloadAPIProto

/// Serialises answers. Each view is serialised once, with its gRPC prefix, and all streams that send it
/// share the bytes.
struct WorkloadMessages: Sendable {
    let jwtBundles: JWTBundleCache
    private let witBundleTexts = WITBundleTexts()
    private let onLeftOut: @Sendable (_ lists: Int) -> Void

    /// - Parameter onLeftOut: Told how many CRLs had no room in a message, once for each message that is made.
    init(
        jwtBundles: JWTBundleCache, onLeftOut: @escaping @Sendable (_ lists: Int) -> Void = { _ in }
    ) {
        self.jwtBundles = jwtBundles
        self.onLeftOut = onLeftOut
    }

    func x509(_ view: X509View) throws(WorkloadRefusal) -> ByteBuffer {
        try self.once(view.encoded) {
            let own = Self.x509(view.ownBundle)
            var message = X509SVIDResponse.with {
                $0.svids = view.identities.map { identity in
                    .with {
                        $0.spiffeID = identity.svid.spiffeID.string
                        $0.x509Svid = Data(identity.svid.chainDER)
                        $0.x509SvidKey = Data(identity.svid.privateKeyDER)
                        $0.bundle = own
                        $0.hint = identity.entry.hint
                    }
                }
                $0.federatedBundles = Self.byID(view.federatedBundles) { Self.x509($0) }
            }
            message.crl = self.lists(view.crls, in: message)
            return message
        }
    }

    func x509Bundles(_ view: BundleView) throws(WorkloadRefusal) -> ByteBuffer {
        try self.once(view.encoded) {
            var message = X509BundlesResponse.with {
                $0.bundles = Self.byID(view.bundles) { Self.x509($0) }
            }
            message.crl = self.lists(view.crls, in: message)
            return message
        }
    }

    /// The CRLs of a message, as far as there is room.
    private func lists(_ crls: [[UInt8]], in message: some Message) -> [Data] {
        let fitting = ListRoom.fitting(crls, beside: message)
        if fitting.count < crls.count { self.onLeftOut(crls.count - fitting.count) }
        return fitting.map { Data($0) }
    }

    /// The whole state in one message.
    func revocations(_ view: RevocationView) throws(WorkloadRefusal) -> ByteBuffer {
        try self.once(view.encoded) { Self.state(view) }
    }

    /// The state in as many messages as it takes, for clients that join them; never none.
    func revocationParts(_ view: RevocationView) throws(WorkloadRefusal) -> [ByteBuffer] {
        do {
            return try view.encodedParts.get {
                let state: [UInt8] = try Self.state(view).serializedBytes(
                    options: Self.deterministic)
                return try RevocationParts.messages(state).map { GRPCCall.framed($0) }
            }
        } catch {
            throw WorkloadRefusal(.internal, "response cannot be encoded")
        }
    }

    private static func state(
        _ view: RevocationView
    ) -> Cygnet_Workload_V1_FetchRevocationsResponse {
        .with {
            $0.trustDomains = view.domains.map { domain in
                .with {
                    $0.trustDomain = domain.trustDomain.name
                    $0.crls = domain.crls.map { Data($0) }
                    $0.statusLists = domain.statusLists.sorted { $0.key < $1.key }.map { list in
                        .with {
                            $0.uri = list.key
                            $0.token = list.value
                        }
                    }
                    // In order: equal content, equal bytes.
                    $0.revokedTokens = domain.revokedTokens.map(\.bytes).sorted {
                        $0.lexicographicallyPrecedes($1)
                    }.map { Data($0) }
                }
            }
        }
    }

    func limits(_ view: PartnerLimitView) throws(WorkloadRefusal) -> ByteBuffer {
        try self.once(view.encoded) {
            Cygnet_Workload_V1_FetchPartnerLimitsResponse.with {
                $0.trustDomains = view.trustDomains.map(\.name)
                $0.limits = view.limits.map { limits in
                    .with {
                        $0.trustDomain = limits.trustDomain.name
                        $0.x509 = limits.allowsX509
                        $0.jwt = limits.allowsJWT
                        $0.limitsPaths = limits.acceptedPaths != nil
                        $0.acceptedPaths = limits.acceptedPaths ?? []
                    }
                }
            }
        }
    }

    func jwtBundles(_ view: BundleView) throws(WorkloadRefusal) -> ByteBuffer {
        try self.once(view.encoded) {
            JWTBundlesResponse.with {
                $0.bundles = Self.byID(view.bundles) { Data(self.jwtBundles.bundle($0).jwks()) }
            }
        }
    }

    func wit(_ view: WITView) throws(WorkloadRefusal) -> ByteBuffer {
        try self.once(view.encoded) {
            WITSVIDResponse.with {
                $0.svids = view.identities.map { identity in
                    .with {
                        $0.spiffeID = identity.svid.spiffeID.string
                        $0.witSvid = identity.svid.token
                        $0.witSvidKey = identity.svid.privateJWK
                        $0.hint = identity.entry.hint
                    }
                }
            }
        }
    }

    func witBundles(_ view: BundleView) throws(WorkloadRefusal) -> ByteBuffer {
        try self.once(view.encoded) {
            WITBundlesResponse.with {
                $0.bundles = Self.byID(view.bundles) { self.witBundleTexts.text($0) }
            }
        }
    }

    func jwtSVIDs(
        _ tokens: [(entry: AuthorizedEntry, svid: IssuedJWTSVID)]
    ) throws(WorkloadRefusal) -> [UInt8] {
        try Self.serialise(
            JWTSVIDResponse.with {
                $0.svids = tokens.map { token in
                    .with {
                        $0.spiffeID = token.svid.spiffeID.string
                        $0.svid = token.svid.token
                        $0.hint = token.entry.hint
                    }
                }
            })
    }

    func validated(
        _ id: SPIFFEID, _ claims: [String: JSONValue]
    ) throws(WorkloadRefusal) -> [UInt8] {
        try Self.serialise(
            ValidateJWTSVIDResponse.with {
                $0.spiffeID = id.string
                $0.claims = .with { $0.fields = claims.mapValues { Google_Protobuf_Value($0) } }
            })
    }

    private static func serialise(_ message: some Message) throws(WorkloadRefusal) -> [UInt8] {
        do { return try message.serializedBytes() } catch {
            throw WorkloadRefusal(.internal, "response cannot be encoded")
        }
    }

    private func once<Response: Message>(
        _ form: EncodedForm, _ make: () -> Response
    ) throws(WorkloadRefusal) -> ByteBuffer {
        do {
            return try form.get {
                let bytes: [UInt8] = try make().serializedBytes(options: Self.deterministic)
                return GRPCCall.framed(bytes)
            }
        } catch {
            throw WorkloadRefusal(.internal, "response cannot be encoded")
        }
    }

    /// Equal content, equal bytes: a message that says nothing new is not sent.
    private static var deterministic: BinaryEncodingOptions {
        var options = BinaryEncodingOptions()
        options.useDeterministicOrdering = true
        return options
    }

    private static func x509(_ bundle: AgentBundle) -> Data {
        Data(bundle.x509Authorities.flatMap(\.der))
    }

    /// Bundle maps are keyed by the trust domain's SPIFFE ID.
    private static func byID<Value>(
        _ bundles: [AgentBundle], _ value: (AgentBundle) -> Value
    ) -> [String: Value] {
        Dictionary(bundles.map { ($0.trustDomain.id.string, value($0)) }) { first, _ in first }
    }
}

/// The JWT half of bundles, parsed once for as long as it does not change.
final class JWTBundleCache: Sendable {
    private struct Known {
        let authorities: [AgentBundle.JWTAuthority]
        let bundle: JWTBundle
    }

    private let known = NIOLockedValueBox<[TrustDomain: Known]>([:])

    /// The keys of a trust domain that can be read; the others are left out.
    func bundle(_ bundle: AgentBundle) -> JWTBundle {
        if let known = self.known.withLockedValue({ $0[bundle.trustDomain] }),
            known.authorities == bundle.jwtAuthorities
        {
            return known.bundle
        }
        var keys: [String: JWTVerificationKey] = [:]
        for authority in bundle.jwtAuthorities {
            keys[authority.keyID] = try? JWTVerificationKey(publicKeyDER: authority.publicKeyDER)
        }
        let parsed = JWTBundle(trustDomain: bundle.trustDomain, authorities: keys)
        self.known.withLockedValue {
            $0[bundle.trustDomain] = Known(authorities: bundle.jwtAuthorities, bundle: parsed)
        }
        return parsed
    }
}

/// The WIT half of bundles as documents, made once for as long as it does not change.
final class WITBundleTexts: Sendable {
    private struct Known {
        let authorities: [AgentBundle.WITAuthority]
        let text: String
    }

    private let known = NIOLockedValueBox<[TrustDomain: Known]>([:])

    /// A JWK Set with the keys that can be read; the others are left out.
    func text(_ bundle: AgentBundle) -> String {
        if let known = self.known.withLockedValue({ $0[bundle.trustDomain] }),
            known.authorities == bundle.witAuthorities
        {
            return known.text
        }
        var keys: [String: JWTVerificationKey] = [:]
        for authority in bundle.witAuthorities {
            keys[authority.keyID] = try? JWTVerificationKey(publicKeyDER: authority.publicKeyDER)
        }
        let text = WITBundle(trustDomain: bundle.trustDomain, authorities: keys).jwks()
        self.known.withLockedValue {
            $0[bundle.trustDomain] = Known(authorities: bundle.witAuthorities, text: text)
        }
        return text
    }
}

extension Google_Protobuf_Value {
    /// A claim in the form the Workload API returns it; numbers are doubles there.
    fileprivate init(_ value: JSONValue) {
        self.init()
        switch value {
        case .null: self.kind = .nullValue(.nullValue)
        case .bool(let value): self.kind = .boolValue(value)
        case .int(let value): self.kind = .numberValue(Double(value))
        case .uint(let value): self.kind = .numberValue(Double(value))
        case .double(let value): self.kind = .numberValue(value)
        case .string(let value): self.kind = .stringValue(value)
        case .array(let values):
            self.kind = .listValue(.with { $0.values = values.map { Google_Protobuf_Value($0) } })
        case .object(let fields):
            self.kind = .structValue(
                .with { $0.fields = fields.mapValues { Google_Protobuf_Value($0) } })
        }
    }
}
