package import AgentCore
import Foundation
package import Logging
import NIOConcurrencyHelpers
package import SPIFFE
import SwiftProtobuf
import WorkloadAPIProto

/// The methods of the SPIFFE Workload API.
package enum WorkloadMethod: String, CaseIterable, Sendable {
    case fetchX509SVID = "FetchX509SVID"
    case fetchX509Bundles = "FetchX509Bundles"
    case fetchJWTSVID = "FetchJWTSVID"
    case fetchJWTBundles = "FetchJWTBundles"
    case validateJWTSVID = "ValidateJWTSVID"
    case fetchWITSVID = "FetchWITSVID"
    case fetchWITBundles = "FetchWITBundles"
}

/// One call of a workload, free of the protocol stack it came over.
package struct WorkloadCall: Sendable {
    package var method: WorkloadMethod
    /// All values of the metadata key `workload.spiffe.io`.
    package var securityHeader: [String]
    package var process: PeerProcess

    package init(method: WorkloadMethod, securityHeader: [String], process: PeerProcess) {
        self.method = method
        self.securityHeader = securityHeader
        self.process = process
    }
}

/// The SPIFFE Workload API: a request and a process in, serialised messages out.
///
/// Knows nothing of HTTP/2, so that the stack below it can be replaced. Errors are
/// ``WorkloadRefusal`` and carry all a caller is told; what helps an operator goes to the log.
package final class WorkloadAPI: Sendable {
    package struct Settings: Sendable {
        package var trustDomain: TrustDomain
        /// Claims kept when a foreign trust domain's token is validated, beside `sub`, `aud` and
        /// `exp`.
        package var allowedForeignJWTClaims: Set<String>

        package init(trustDomain: TrustDomain, allowedForeignJWTClaims: Set<String> = []) {
            self.trustDomain = trustDomain
            self.allowedForeignJWTClaims = allowedForeignJWTClaims
        }
    }

    private let settings: Settings
    private let identities: WorkloadIdentities
    private let attestation: WorkloadAttestation
    private let refusals: RefusalLog
    private let events: (any AgentEvents)?
    private let logger: Logger
    private let jwtBundles = JWTBundleCache()

    package init(
        settings: Settings, identities: WorkloadIdentities, attestation: WorkloadAttestation,
        logger: Logger, events: (any AgentEvents)? = nil
    ) {
        self.settings = settings
        self.identities = identities
        self.attestation = attestation
        self.logger = logger
        self.events = events
        self.refusals = RefusalLog(identities: identities, logger: logger, events: events)
    }

    /// Attests the caller and gives the stream it asked for, not yet begun.
    package func open(_ call: WorkloadCall) async throws(WorkloadRefusal) -> WorkloadStream {
        try Self.checkHeader(call)
        let kind: SVIDCache.Kind
        switch call.method {
        case .fetchX509SVID: kind = .x509SVIDs
        case .fetchX509Bundles: kind = .x509Bundles
        case .fetchJWTBundles: kind = .jwtBundles
        case .fetchWITSVID, .fetchWITBundles, .fetchJWTSVID, .validateJWTSVID:
            throw Self.unimplemented
        }
        // Before attestation, so that a change during or after it is noticed with the first message.
        guard let attested = call.process.fingerprint() else { throw .attestationFailed }
        let selectors = try await self.attestation.selectors(of: call.process)
        return WorkloadStream(
            kind: kind, process: call.process, attested: attested, selectors: selectors,
            identities: self.identities,
            encoder: WorkloadMessages(jwtBundles: self.jwtBundles),
            onServed: { [events] view in
                events?.record(
                    .served(pid: call.process.pid, spiffeIDs: view.identities.map(\.svid.spiffeID)))
            },
            onRefused: { [refusals] refusal in
                refusals.record(refusal, call.process, selectors)
            })
    }

    /// Answers a call that has one answer.
    package func answer(
        _ call: WorkloadCall, request: [UInt8]
    ) async throws(WorkloadRefusal) -> [UInt8] {
        try Self.checkHeader(call)
        switch call.method {
        case .fetchJWTSVID: return try await self.fetchJWTSVID(call, request)
        case .validateJWTSVID: return try await self.validateJWTSVID(call, request)
        default: throw Self.unimplemented
        }
    }

    // MARK: JWT-SVIDs

    private func fetchJWTSVID(
        _ call: WorkloadCall, _ bytes: [UInt8]
    ) async throws(WorkloadRefusal) -> [UInt8] {
        guard let request = try? JWTSVIDRequest(serializedBytes: bytes) else {
            throw Self.malformed
        }
        let audience = request.audience.filter { !$0.isEmpty }
        if audience.isEmpty {
            throw WorkloadRefusal(.invalidArgument, "audience must be specified")
        }
        var spiffeID: SPIFFEID?
        if !request.spiffeID.isEmpty {
            do { spiffeID = try SPIFFEID(request.spiffeID) } catch {
                throw WorkloadRefusal(
                    .invalidArgument, "invalid requested SPIFFE ID: \(error.message)")
            }
        }
        let selectors = try await self.attestation.selectors(of: call.process)
        let tokens: [(entry: AuthorizedEntry, svid: IssuedJWTSVID)]
        do throws(WorkloadRefusal) {
            tokens = try await self.identities.jwtSVIDs(
                selectors, audience: audience, spiffeID: spiffeID)
        } catch {
            self.refusals.record(error, call.process, selectors)
            throw error
        }
        // Signing may have taken a while; the token is for the process that asked, as it was.
        guard try await self.attestation.selectors(of: call.process) == selectors else {
            throw .attestationFailed
        }
        return try Self.serialise(
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

    private func validateJWTSVID(
        _ call: WorkloadCall, _ bytes: [UInt8]
    ) async throws(WorkloadRefusal) -> [UInt8] {
        guard let request = try? ValidateJWTSVIDRequest(serializedBytes: bytes) else {
            throw Self.malformed
        }
        if request.audience.isEmpty {
            throw WorkloadRefusal(.invalidArgument, "audience must be specified")
        }
        if request.svid.isEmpty {
            throw WorkloadRefusal(.invalidArgument, "svid must be specified")
        }
        let selectors = try await self.attestation.selectors(of: call.process)
        let bundles = JWTBundleSet(
            try self.identities.bundles(selectors).map { self.jwtBundles.bundle($0) })
        let svid: SPIFFE.JWTSVID
        do {
            svid = try SPIFFE.JWTSVID.validate(
                request.svid, audience: request.audience, bundles: bundles)
        } catch {
            throw WorkloadRefusal(.invalidArgument, error.message)
        }
        var claims = svid.claims
        if svid.id.trustDomain != self.settings.trustDomain {
            let kept = self.settings.allowedForeignJWTClaims.union(["sub", "aud", "exp"])
            claims = claims.filter { kept.contains($0.key) }
        }
        claims["aud"] = .array(svid.audience.map { .string($0) })
        return try Self.serialise(
            ValidateJWTSVIDResponse.with {
                $0.spiffeID = svid.id.string
                $0.claims = .with { $0.fields = claims.mapValues { Google_Protobuf_Value($0) } }
            })
    }

    // MARK: Common

    private static func checkHeader(_ call: WorkloadCall) throws(WorkloadRefusal) {
        guard call.securityHeader == ["true"] else {
            throw WorkloadRefusal(.invalidArgument, "security header missing from request")
        }
    }

    private static let unimplemented = WorkloadRefusal(.unimplemented, "method is not offered")
    private static let malformed = WorkloadRefusal(.invalidArgument, "request cannot be parsed")

    private static func serialise(_ message: some Message) throws(WorkloadRefusal) -> [UInt8] {
        do { return try message.serializedBytes() } catch {
            throw WorkloadRefusal(.internal, "response cannot be encoded")
        }
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
