package import AgentCore
import Foundation
package import Logging
import NIOConcurrencyHelpers
import PluginAPI
package import SPIFFE
import SwiftProtobuf
import WorkloadAPIProto

/// The methods of the SPIFFE Workload API, and of our extension of it.
package enum WorkloadMethod: String, CaseIterable, Sendable {
    case fetchX509SVID = "FetchX509SVID"
    case fetchX509Bundles = "FetchX509Bundles"
    case fetchJWTSVID = "FetchJWTSVID"
    case fetchJWTBundles = "FetchJWTBundles"
    case validateJWTSVID = "ValidateJWTSVID"
    case fetchWITSVID = "FetchWITSVID"
    case fetchWITBundles = "FetchWITBundles"
    case fetchRevocations = "FetchRevocations"
    case fetchPartnerLimits = "FetchPartnerLimits"
    case record = "Record"

    /// The service that has it.
    var service: String {
        switch self {
        case .fetchRevocations: WorkloadRevocationsService.serviceName
        case .fetchPartnerLimits: PartnerLimitsService.serviceName
        case .record: CustodyService.serviceName
        default: WorkloadAPIService.serviceName
        }
    }
}

/// A request that has one answer, read and checked.
enum WorkloadRequest: Sendable {
    case fetchJWTSVID(audience: [String], spiffeID: SPIFFEID?)
    case validateJWTSVID(token: String, audience: String)
    /// Two compact JWS that nobody has looked at; the receipt is empty when there is none.
    case record(statement: String, receipt: String)

    /// - Throws: ``WorkloadRefusal`` when the message is malformed or lacks something.
    init(_ method: WorkloadMethod, _ bytes: [UInt8]) throws(WorkloadRefusal) {
        switch method {
        case .fetchJWTSVID: try self.init(fetchJWTSVID: bytes)
        case .validateJWTSVID: try self.init(validateJWTSVID: bytes)
        case .record: try self.init(record: bytes)
        default: throw WorkloadAPI.unimplemented
        }
    }

    private init(fetchJWTSVID bytes: [UInt8]) throws(WorkloadRefusal) {
        guard let request = try? JWTSVIDRequest(serializedBytes: bytes) else {
            throw WorkloadAPI.malformed
        }
        try self.init(audience: request.audience, spiffeID: request.spiffeID)
    }

    /// A request for JWT-SVIDs.
    ///
    /// - Parameters:
    ///   - audience: At least one that is not empty.
    ///   - spiffeID: Empty for all identities.
    init(audience: [String], spiffeID text: String) throws(WorkloadRefusal) {
        let audience = audience.filter { !$0.isEmpty }
        if audience.isEmpty {
            throw WorkloadRefusal(.invalidArgument, "audience must be specified")
        }
        self = .fetchJWTSVID(
            audience: audience, spiffeID: try WorkloadRequest.id(text))
    }

    /// The ID that a request names; nil for all.
    static func id(_ text: String) throws(WorkloadRefusal) -> SPIFFEID? {
        if text.isEmpty { return nil }
        do throws(SPIFFEIDError) { return try SPIFFEID(text) } catch {
            throw WorkloadRefusal(
                .invalidArgument, "invalid requested SPIFFE ID: \(error.message)")
        }
    }

    private init(validateJWTSVID bytes: [UInt8]) throws(WorkloadRefusal) {
        guard let request = try? ValidateJWTSVIDRequest(serializedBytes: bytes) else {
            throw WorkloadAPI.malformed
        }
        if request.audience.isEmpty {
            throw WorkloadRefusal(.invalidArgument, "audience must be specified")
        }
        if request.svid.isEmpty {
            throw WorkloadRefusal(.invalidArgument, "svid must be specified")
        }
        self = .validateJWTSVID(token: request.svid, audience: request.audience)
    }
}

/// The answer to a request that has one.
struct WorkloadAnswer: Sendable {
    let bytes: [UInt8]
    /// The identities that the caller can use now; empty for what hands out none.
    let spiffeIDs: [SPIFFEID]
}

/// The SPIFFE Workload API: an attested process and a request in, serialised messages out.
///
/// Knows nothing of HTTP/2, so that the stack below it can be replaced. Errors are
/// ``WorkloadRefusal`` and carry all a caller is told; what helps an operator goes to the log.
package final class WorkloadAPI: Sendable {
    package struct Settings: Sendable {
        package var trustDomain: TrustDomain
        /// Claims kept when a foreign trust domain's token is validated, beside `sub`, `aud` and
        /// `exp`.
        package var allowedForeignJWTClaims: Set<String>
        /// Whether the WIT profile is offered; incubating, hence off.
        package var offersWITSVIDs: Bool

        package init(
            trustDomain: TrustDomain, allowedForeignJWTClaims: Set<String> = [],
            offersWITSVIDs: Bool = false
        ) {
            self.trustDomain = trustDomain
            self.allowedForeignJWTClaims = allowedForeignJWTClaims
            self.offersWITSVIDs = offersWITSVIDs
        }
    }

    let settings: Settings
    let identities: WorkloadIdentities
    let attestation: WorkloadAttestation
    let messages: WorkloadMessages
    let refusals: RefusalLog
    private let events: (any AgentEvents)?
    private let jwtBundles = JWTBundleCache()
    private let statusLists = StatusListCache()

    package init(
        settings: Settings, identities: WorkloadIdentities, attestation: WorkloadAttestation,
        logger: Logger, events: (any AgentEvents)? = nil
    ) {
        self.settings = settings
        self.identities = identities
        self.attestation = attestation
        self.events = events
        self.messages = WorkloadMessages(jwtBundles: self.jwtBundles) { count in
            logger.error(
                """
                CRLs left out of a message to workloads: with them it would be longer than clients take; they are \
                told by WorkloadRevocations and HTTP only
                """,
                metadata: ["count": "\(count)", "limit": "\(ListRoom.longestMessage)"])
        }
        self.refusals = RefusalLog(identities: identities, logger: logger, events: events)
    }

    /// What a stream of WIT-SVIDs is asked for: one identity, or all.
    ///
    /// - Throws: ``WorkloadRefusal`` when the profile is not offered or the message is malformed.
    func requestedWITSVID(_ bytes: [UInt8]) throws(WorkloadRefusal) -> SPIFFEID? {
        try self.requireWITSVIDs()
        guard let request = try? WITSVIDRequest(serializedBytes: bytes) else {
            throw WorkloadAPI.malformed
        }
        return try WorkloadRequest.id(request.spiffeID)
    }

    /// Whether who asks for revocations joins the parts of a state.
    ///
    /// - Throws: ``WorkloadRefusal`` when the message is malformed.
    func takesRevocationParts(_ bytes: [UInt8]) throws(WorkloadRefusal) -> Bool {
        guard
            let request = try? Cygnet_Workload_V1_FetchRevocationsRequest(serializedBytes: bytes)
        else { throw WorkloadAPI.malformed }
        return request.takesParts
    }

    /// - Throws: ``WorkloadRefusal`` when the WIT profile is not offered.
    func requireWITSVIDs() throws(WorkloadRefusal) {
        if !self.settings.offersWITSVIDs { throw WorkloadAPI.unimplemented }
    }

    /// A stream has its first message.
    func served(_ view: X509View, _ process: any WorkloadProcess) {
        self.events?.record(
            .served(pid: process.pid, spiffeIDs: view.identities.map(\.svid.spiffeID)))
    }

    /// A caller gets nothing; what helps an operator goes to the log.
    func refused(
        _ refusal: WorkloadRefusal, _ process: any WorkloadProcess, _ selectors: Set<Selector>
    ) {
        self.refusals.record(refusal, process, selectors)
    }

    /// The answer to a request if it needs no waiting; nil if it does.
    ///
    /// - Parameter attested: As of this moment.
    func answerAtOnce(
        _ request: WorkloadRequest, _ process: any WorkloadProcess, _ attested: AttestedWorkload
    ) throws(WorkloadRefusal) -> WorkloadAnswer? {
        switch request {
        case .fetchJWTSVID(let audience, let spiffeID):
            // A refusal is left to the other way, which puts it on record.
            guard
                let tokens = try? self.identities.heldJWTSVIDs(
                    attested.selectors, audience: audience, spiffeID: spiffeID, for: process)
            else { return nil }
            return try self.answer(tokens)
        case .validateJWTSVID(let token, let audience):
            return try self.validate(token, audience, attested.selectors)
        case .record:
            return nil
        }
    }

    /// The answer to a request, however long it takes.
    func answer(
        _ request: WorkloadRequest, _ process: any WorkloadProcess
    ) async throws(WorkloadRefusal) -> WorkloadAnswer {
        try await self.answer(
            request, process, as: try await self.attestation.attest(process).selectors)
    }

    /// The same for a process whose selectors have been found out; they must be the same at the end.
    func answer(
        _ request: WorkloadRequest, _ process: any WorkloadProcess, as selectors: Set<Selector>
    ) async throws(WorkloadRefusal) -> WorkloadAnswer {
        switch request {
        case .fetchJWTSVID(let audience, let spiffeID):
            let tokens: [(entry: AuthorizedEntry, svid: IssuedJWTSVID)]
            do throws(WorkloadRefusal) {
                tokens = try await self.identities.jwtSVIDs(
                    selectors, audience: audience, spiffeID: spiffeID, for: process)
            } catch {
                self.refused(error, process, selectors)
                throw error
            }
            // Signing may have taken a while; the token is for the process that asked, as it was.
            guard try await self.attestation.attest(process).selectors == selectors else {
                throw .attestationFailed
            }
            return try self.answer(tokens)
        case .validateJWTSVID(let token, let audience):
            return try self.validate(token, audience, selectors)
        case .record(let statement, let receipt):
            return try await self.record(statement, receipt, process, as: selectors)
        }
    }

    private func answer(
        _ tokens: [(entry: AuthorizedEntry, svid: IssuedJWTSVID)]
    ) throws(WorkloadRefusal) -> WorkloadAnswer {
        WorkloadAnswer(
            bytes: try self.messages.jwtSVIDs(tokens), spiffeIDs: tokens.map(\.svid.spiffeID))
    }

    private func validate(
        _ token: String, _ audience: String, _ selectors: Set<Selector>
    ) throws(WorkloadRefusal) -> WorkloadAnswer {
        let held = try self.identities.bundles(selectors).filter(\.isForJWT)
        let bundles = JWTBundleSet(held.map { self.jwtBundles.bundle($0) })
        let svid: SPIFFE.JWTSVID
        do {
            // What status lists say is believed as the SDK believes it: for an hour after their end.
            svid = try SPIFFE.JWTSVID.validate(
                token, audience: audience, bundles: bundles,
                revocation: .standard.asking(
                    HeldStatusLists(
                        identities: self.identities, bundles: bundles, lists: self.statusLists)),
                limits: HeldLimits(bundles: held, own: self.settings.trustDomain))
        } catch {
            throw WorkloadRefusal(.invalidArgument, error.message)
        }
        if svid.id.trustDomain == self.settings.trustDomain,
            self.identities.isRevoked(token: token)
        {
            throw WorkloadRefusal(.invalidArgument, "token was revoked")
        }
        var claims = svid.claims
        if svid.id.trustDomain != self.settings.trustDomain {
            let kept = self.settings.allowedForeignJWTClaims.union(["sub", "aud", "exp"])
            claims = claims.filter { kept.contains($0.key) }
        }
        claims["aud"] = .array(svid.audience.map { .string($0) })
        return WorkloadAnswer(
            bytes: try self.messages.validated(svid.id, claims), spiffeIDs: [])
    }

    static let noSecurityHeader = WorkloadRefusal(
        .invalidArgument, "security header missing from request")
    static let unimplemented = WorkloadRefusal(.unimplemented, "method is not offered")
    static let malformed = WorkloadRefusal(.invalidArgument, "request cannot be parsed")
}
