import ControlPlaneProto
import Foundation
import GRPCCore
import SPIFFE
import ServerCore
import SwiftProtobuf
import Transparency
import X509

/// `spire.api.server.svid.v1.SVID`: SVIDs for operators (mint) and agents.
struct SVIDService: Spire_Api_Server_Svid_V1_SVID.SimpleServiceProtocol {
    let issuer: Issuer
    let directory: Directory
    let limits: RateLimits

    // MARK: Operators

    func mintX509SVID(
        request: Spire_Api_Server_Svid_V1_MintX509SVIDRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Svid_V1_MintX509SVIDResponse {
        try await self.mintX509SVID(request, requestedBy: try context.call.caller.caller.name)
    }

    func mintX509SVID(
        _ request: Spire_Api_Server_Svid_V1_MintX509SVIDRequest, requestedBy: String
    ) async throws -> Spire_Api_Server_Svid_V1_MintX509SVIDResponse {
        guard !request.csr.isEmpty else { throw ServerError(.invalidArgument, "missing CSR") }
        let ttl = try Self.ttl(request.ttl)
        let csr = try PublicKeys.parseRequest([UInt8](request.csr))
        let names = try RequestedNames(csr, trustDomain: self.issuer.trustDomain)
        let svid = try await self.issuer.issue(
            X509Issuance(
                spiffeID: names.spiffeID, publicKey: csr.publicKey, dnsNames: names.dnsNames,
                ttl: ttl,
                subject: csr.subject.isEmpty ? nil : csr.subject, origin: .mint),
            requestedBy: requestedBy)
        return .with { $0.svid = Wire.message(svid) }
    }

    func mintJWTSVID(
        request: Spire_Api_Server_Svid_V1_MintJWTSVIDRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Svid_V1_MintJWTSVIDResponse {
        try await self.mintJWTSVID(request, requestedBy: try context.call.caller.caller.name)
    }

    func mintJWTSVID(
        _ request: Spire_Api_Server_Svid_V1_MintJWTSVIDRequest, requestedBy: String
    ) async throws -> Spire_Api_Server_Svid_V1_MintJWTSVIDResponse {
        let ttl = try Self.ttl(request.ttl)
        let id = try Wire.id(request.id, field: "SPIFFE ID", isSet: request.hasID)
        let audience = try Self.audience(request.audience)
        // Operators sign invites here, with an ID that is there for nothing else.
        if !Invite.isSignature(id, audience: audience) {
            try EntryValidation.checkWorkloadID(id, in: self.issuer.trustDomain)
        }
        let svid = try await self.issuer.issue(
            JWTIssuance(spiffeID: id, audience: audience, ttl: ttl, origin: .mint),
            requestedBy: requestedBy)
        return .with { $0.svid = Wire.message(svid) }
    }

    func mintWITSVID(
        request: Spire_Api_Server_Svid_V1_MintWITSVIDRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Svid_V1_MintWITSVIDResponse {
        try self.issuer.requireWITSVIDs()
        let ttl = try Self.ttl(request.ttl)
        let id = try Wire.id(request.id, field: "SPIFFE ID", isSet: request.hasID)
        try EntryValidation.checkWorkloadID(id, in: self.issuer.trustDomain)
        let key = try ConfirmationKey(
            publicKeyDER: [UInt8](request.publicKey), algorithm: request.signingAlgorithm)
        let svid = try await self.issuer.issue(
            WITIssuance(spiffeID: id, confirmationKey: key, ttl: ttl, origin: .mint),
            requestedBy: try context.call.caller.caller.name)
        return .with { $0.svid = Wire.message(svid) }
    }

    // MARK: Agents

    func batchNewX509SVID(
        request: Spire_Api_Server_Svid_V1_BatchNewX509SVIDRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Svid_V1_BatchNewX509SVIDResponse {
        let call = try context.call
        let agent = try call.requireAgent()
        guard !request.params.isEmpty else {
            throw ServerError(.invalidArgument, "missing parameters")
        }
        try await self.waitToSign(request.params.count, .x509, agent, call)
        let wanted = request.params.map { params in
            Result { () throws(ServerError) -> X509Issuance in
                guard !params.entryID.isEmpty else {
                    throw ServerError(.invalidArgument, "missing entry ID")
                }
                guard !params.csr.isEmpty else {
                    throw ServerError(.invalidArgument, "missing CSR")
                }
                let csr = try PublicKeys.parseRequest([UInt8](params.csr))
                return try self.directory.issuance(
                    entryID: params.entryID, agent: agent, publicKey: csr.publicKey)
            }
        }
        try context.checkCancellation()
        let results = try await self.issuer.issueEach(
            wanted, entryIDs: request.params.map(\.entryID), agent: agent)
        return .with {
            $0.results = results.map { .item($0) { $0.svid = Wire.message($1) } }
        }
    }

    func newJWTSVID(
        request: Spire_Api_Server_Svid_V1_NewJWTSVIDRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Svid_V1_NewJWTSVIDResponse {
        let agent = try context.call.requireAgent()
        guard !request.entryID.isEmpty else {
            throw ServerError(.invalidArgument, "missing entry ID")
        }
        let issuance: JWTIssuance
        do throws(ServerError) {
            issuance = try self.directory.jwtIssuance(
                entryID: request.entryID, agent: agent,
                audience: try Self.audience(request.audience))
        } catch {
            self.issuer.refuse(
                error, .jwt, entryID: request.entryID, node: agent, caller: agent.string)
            throw error
        }
        try context.checkCancellation()
        let svid = try await self.issuer.issue(issuance, requestedBy: agent.string)
        return .with { $0.svid = Wire.message(svid) }
    }

    func batchNewWITSVID(
        request: Spire_Api_Server_Svid_V1_BatchNewWITSVIDRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Svid_V1_BatchNewWITSVIDResponse {
        try self.issuer.requireWITSVIDs()
        let call = try context.call
        let agent = try call.requireAgent()
        guard !request.params.isEmpty else {
            throw ServerError(.invalidArgument, "missing parameters")
        }
        try await self.waitToSign(request.params.count, .wit, agent, call)
        let wanted = request.params.map { params in
            Result { () throws(ServerError) -> WITIssuance in
                guard !params.entryID.isEmpty else {
                    throw ServerError(.invalidArgument, "missing entry ID")
                }
                return try self.directory.witIssuance(
                    entryID: params.entryID, agent: agent,
                    key: try ConfirmationKey(
                        publicKeyDER: [UInt8](params.publicKey), algorithm: params.signingAlgorithm
                    ))
            }
        }
        try context.checkCancellation()
        let results = try await self.issuer.issueEach(
            wanted, entryIDs: request.params.map(\.entryID), agent: agent)
        return .with {
            $0.results = results.map { .item($0) { $0.svid = Wire.message($1) } }
        }
    }

    func newDownstreamX509CA(
        request: Spire_Api_Server_Svid_V1_NewDownstreamX509CARequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Svid_V1_NewDownstreamX509CAResponse {
        throw ServerError(.unimplemented, "downstream authorities are not supported yet")
    }

    /// Waits until so many signatures may be made; a refusal is recorded once for all of them.
    private func waitToSign(
        _ count: Int, _ type: LeafSVIDType, _ agent: SPIFFEID, _ call: CallContext
    ) async throws {
        do {
            try await self.limits.waitToSign(count, address: call.remoteIPAddress)
        } catch let error as ServerError {
            self.issuer.refuse(error, type, node: agent, caller: agent.string)
            throw error
        }
        // The turn may have been long in coming.
        guard self.directory.node(agent)?.isBanned == false else {
            throw ServerError(
                .permissionDenied, "agent \(agent) is banned or not attested", agentReason: .banned)
        }
    }

    private static func ttl(_ ttl: Int32) throws(ServerError) -> Int32 {
        guard ttl >= 0 else {
            throw ServerError(
                .invalidArgument, "ttl \(ttl) rejected: it must be 0 (default) or more seconds")
        }
        return ttl
    }

    static func audience(_ audience: [String]) throws(ServerError) -> [String] {
        guard audience.count <= 64, audience.allSatisfy({ $0.utf8.count <= 2048 }) else {
            throw ServerError(
                .invalidArgument,
                "audience rejected: at most 64 values of at most 2048 bytes are accepted")
        }
        return audience
    }
}

extension ServerContext {
    /// - Throws: `CancellationError` when nobody waits for the answer any more: gRPC's router tells of that here
    ///   and does not cancel the task.
    fileprivate func checkCancellation() throws {
        if self.cancellation.isCancelled { throw CancellationError() }
    }
}

extension Directory {
    /// What to issue to an agent for an entry.
    ///
    /// - Throws: ``ServerError`` `notFound` when the entry is unknown or not authorised for the agent: the
    ///   caller must not learn which.
    func issuance(
        entryID: String, agent: SPIFFEID, publicKey: Certificate.PublicKey
    ) throws(ServerError) -> X509Issuance {
        let entry = try self.requireEntry(entryID, agent: agent)
        return X509Issuance(
            spiffeID: entry.spiffeID, publicKey: publicKey, dnsNames: entry.dnsNames,
            ttl: entry.x509SVIDTTL, origin: .entry(EntryOrigin(entry, agent: agent)))
    }

    func jwtIssuance(
        entryID: String, agent: SPIFFEID, audience: [String]
    ) throws(ServerError) -> JWTIssuance {
        let entry = try self.requireEntry(entryID, agent: agent)
        return JWTIssuance(
            spiffeID: entry.spiffeID, audience: audience, ttl: entry.jwtSVIDTTL,
            includesJTI: entry.jwtSVIDIncludeJTI, origin: .entry(EntryOrigin(entry, agent: agent)))
    }

    func witIssuance(
        entryID: String, agent: SPIFFEID, key: ConfirmationKey
    ) throws(ServerError) -> WITIssuance {
        let entry = try self.requireEntry(entryID, agent: agent)
        return WITIssuance(
            spiffeID: entry.spiffeID, confirmationKey: key,
            origin: .entry(EntryOrigin(entry, agent: agent)))
    }

    private func requireEntry(_ id: String, agent: SPIFFEID) throws(ServerError) -> Entry {
        guard let entry = self.authorizedEntry(id: id, agent: agent) else {
            throw ServerError(.notFound, "entry not found or not authorized")
        }
        return entry
    }
}

/// The names in a CSR for `MintX509SVID`.
struct RequestedNames {
    let spiffeID: SPIFFEID
    let dnsNames: [String]

    init(_ csr: CertificateSigningRequest, trustDomain: TrustDomain) throws(ServerError) {
        var uris: [String] = []
        var dnsNames: [String] = []
        do {
            for name in try csr.attributesNames() {
                switch name {
                case .uniformResourceIdentifier(let uri): uris.append(uri)
                case .dnsName(let name): dnsNames.append(name)
                default: continue
                }
            }
        } catch {
            throw ServerError(
                .invalidArgument, "malformed CSR: its subject alternative names cannot be read")
        }
        guard uris.count == 1 else {
            throw ServerError(
                .invalidArgument,
                "invalid CSR: it has \(uris.count) URI SANs; exactly one, the SPIFFE ID, is expected"
            )
        }
        do { self.spiffeID = try SPIFFEID(uris[0]) } catch {
            throw ServerError(.invalidArgument, "invalid CSR: \(error)")
        }
        try EntryValidation.checkWorkloadID(self.spiffeID, in: trustDomain)
        try DNSNames.check(dnsNames)
        self.dnsNames = dnsNames
    }
}

extension CertificateSigningRequest {
    fileprivate func attributesNames() throws -> SubjectAlternativeNames {
        var names: [GeneralName] = []
        for attribute in self.attributes {
            guard attribute.oid == .CSRAttributes.extensionRequest else { continue }
            let request = try ExtensionRequest(attribute)
            if let found = try request.extensions.subjectAlternativeNames {
                names.append(contentsOf: found)
            }
        }
        return SubjectAlternativeNames(names)
    }
}
