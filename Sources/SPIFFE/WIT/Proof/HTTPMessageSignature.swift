import Foundation

/// HTTP message signatures (RFC 9421) in the profile of WIMSE (draft-ietf-wimse-http-signature §3), requests
/// only.
enum HTTPMessageSignature {
    /// What marks a signature as one of this profile. Its label means nothing.
    static let tag = "wimse-workload-to-workload"
    static let label = "wimse"
    /// Fields that must be covered when they are there.
    private static let coveredFields = [
        "content-type", "content-digest", "authorization", "txn-token", "workload-identity-token",
    ]

    // MARK: Signing

    /// Makes `Signature-Input` and `Signature`.
    ///
    /// - Parameter request: With all fields that are to be signed.
    static func make(
        for request: ProofRequest, audience: String, proofKey: ProofKey, createdAt: Date,
        expiresAt: Date, otherTokenFields: [String]
    ) throws(WorkloadProofError) -> [ProofRequest.Field] {
        guard audience.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw WorkloadProofError(
                .audience, "the audience has letters that no signature can carry")
        }
        let components = self.requiredComponents(request, otherTokenFields)
        let input = StructuredInnerList(
            items: components.map { StructuredItem(value: .string($0)) },
            parameters: [
                .init(name: "created", value: .integer(Int64(createdAt.timeIntervalSince1970))),
                .init(name: "expires", value: .integer(Int64(expiresAt.timeIntervalSince1970))),
                .init(name: "nonce", value: .string(ProofHash.identifier())),
                .init(name: "tag", value: .string(self.tag)),
                .init(name: "wimse-aud", value: .string(audience)),
            ])
        let base = try self.base(input, request)
        do throws(JOSEError) {
            let signature = try proofKey.sign(base)
            return [
                .init(
                    name: "Signature-Input", value: "\(self.label)=\(StructuredFieldText.of(input))"
                ),
                .init(
                    name: "Signature",
                    value: "\(self.label)=\(StructuredFieldText.of(.bytes(signature)))"),
            ]
        } catch {
            throw WorkloadProofError(.signing, error.message)
        }
    }

    /// The digest of a body as a field.
    static func contentDigest(_ sha256: [UInt8]) -> ProofRequest.Field {
        .init(name: "Content-Digest", value: "sha-256=\(StructuredFieldText.of(.bytes(sha256)))")
    }

    // MARK: Finding

    /// One signature of a request.
    struct Found {
        let input: StructuredInnerList
        let signature: [UInt8]
    }

    /// The signature of this profile; nil when the request has none.
    ///
    /// - Throws: ``WorkloadProofError`` `malformed` when the fields cannot be read, or there are several.
    static func find(in request: ProofRequest) throws(WorkloadProofError) -> Found? {
        guard request.has("signature-input") else { return nil }
        let inputs: StructuredDictionary
        let signatures: StructuredDictionary
        do throws(StructuredFieldError) {
            inputs = try StructuredDictionary(lines: request.values(of: "signature-input"))
            signatures = try StructuredDictionary(lines: request.values(of: "signature"))
        } catch {
            throw WorkloadProofError(
                .malformed, "Signature-Input or Signature cannot be read: \(error.reason)")
        }
        var found: Found?
        for member in inputs.members {
            guard case .innerList(let input) = member.value,
                input.parameter("tag") == .string(self.tag)
            else { continue }
            guard found == nil else {
                throw WorkloadProofError(.malformed, "several signatures have the tag \(self.tag)")
            }
            guard case .item(let item) = signatures[member.name],
                case .bytes(let signature) = item.value
            else {
                throw WorkloadProofError(
                    .malformed, "Signature has no value for \(SPIFFEIDError.quoted(member.name))")
            }
            found = Found(input: input, signature: signature)
        }
        return found
    }

    // MARK: Verifying

    /// Checks a signature against the WIT-SVID of the same request.
    ///
    /// - Returns: what to remember against a second use.
    static func verify(
        _ found: Found, of svid: UnprovenWITSVID, in request: ProofRequest,
        by verifier: WorkloadProofVerifier, now: Date
    ) throws(WorkloadProofError) -> ProofUse {
        try self.checkCoverage(found.input, request, verifier)
        let base = try self.base(found.input, request)
        let key = svid.confirmationKey
        guard
            key.publicKey.isValidSignature(found.signature, for: base, algorithm: key.algorithm)
        else {
            throw WorkloadProofError(
                .signature, "it was not signed by the key that the WIT-SVID is bound to")
        }
        let expiresAt = try self.checkTime(found.input, by: verifier, now)
        let identifier = try self.checkParameters(found.input, in: request, by: verifier)
        try self.checkDigest(request)
        return ProofUse(
            sender: svid.claimedID, identifier: "nonce:" + identifier,
            expiresAt: expiresAt + verifier.slack)
    }

    /// What a signature must cover: two derived components, and of some fields those that are there.
    private static func requiredComponents(
        _ request: ProofRequest, _ otherTokenFields: [String]
    ) -> [String] {
        ["@method", "@request-target"]
            + (self.coveredFields + otherTokenFields).filter { request.has($0) }
    }

    private static func checkCoverage(
        _ input: StructuredInnerList, _ request: ProofRequest, _ verifier: WorkloadProofVerifier
    ) throws(WorkloadProofError) {
        var covered: Set<String> = []
        for item in input.items {
            guard case .string(let name) = item.value, item.parameters.isEmpty else {
                throw WorkloadProofError(
                    .coverage, "a covered component has parameters or is no name")
            }
            guard covered.insert(name).inserted else {
                throw WorkloadProofError(
                    .coverage, "component \(SPIFFEIDError.quoted(name)) is covered twice")
            }
        }
        for name in self.requiredComponents(request, verifier.otherTokenFields.sorted())
        where !covered.contains(name) {
            throw WorkloadProofError(.coverage, "the signature does not cover \(name)")
        }
    }

    private static func checkTime(
        _ input: StructuredInnerList, by verifier: WorkloadProofVerifier, _ now: Date
    ) throws(WorkloadProofError) -> Date {
        guard case .integer(let created) = input.parameter("created"),
            case .integer(let expires) = input.parameter("expires")
        else {
            throw WorkloadProofError(.parameter, "created or expires is missing or no whole number")
        }
        let createdAt = Date(timeIntervalSince1970: TimeInterval(created))
        let expiresAt = Date(timeIntervalSince1970: TimeInterval(expires))
        guard now + verifier.slack >= createdAt else {
            throw WorkloadProofError(.notYetValid, "it was made in the future")
        }
        guard now < expiresAt + verifier.slack else {
            throw WorkloadProofError(.expired, "it has expired")
        }
        guard expires - created <= Int64(verifier.maximumLifetime.timeInterval), expires > created
        else {
            throw WorkloadProofError(
                .lifetime,
                "it does not live between 1 and \(Int(verifier.maximumLifetime.timeInterval)) s")
        }
        return expiresAt
    }

    /// Checks what is left of the parameters, and returns the nonce.
    private static func checkParameters(
        _ input: StructuredInnerList, in request: ProofRequest, by verifier: WorkloadProofVerifier
    ) throws(WorkloadProofError) -> String {
        // Both are told by the WIT-SVID; a second statement could only differ.
        for name in ["keyid", "alg"] where input.parameter(name) != nil {
            throw WorkloadProofError(.parameter, "it has the parameter \(name)")
        }
        guard case .string(let audience) = input.parameter("wimse-aud") else {
            throw WorkloadProofError(.parameter, "wimse-aud is missing or no string")
        }
        guard verifier.audience.accepts(audience, for: request) else {
            throw WorkloadProofError(
                .audience, "it is for \(SPIFFEIDError.quoted(audience)), not for this recipient")
        }
        switch input.parameter("wimse-sign-response") {
        case nil, .boolean(false): break
        case .boolean(true):
            throw WorkloadProofError(
                .signedResponse, "the client asks for a signed response; none is made here")
        default: throw WorkloadProofError(.parameter, "wimse-sign-response is no boolean")
        }
        guard case .string(let nonce) = input.parameter("nonce"), !nonce.isEmpty,
            nonce.utf8.count <= ProofHash.maximumIdentifierLength
        else {
            throw WorkloadProofError(
                .identifier,
                "nonce is missing or longer than \(ProofHash.maximumIdentifierLength) bytes")
        }
        return nonce
    }

    /// Without a digest of the body that is signed, the body would be anybody's.
    private static func checkDigest(_ request: ProofRequest) throws(WorkloadProofError) {
        guard request.has("content-digest") else {
            guard request.bodySHA256 == nil else {
                throw WorkloadProofError(
                    .digest, "the request has a body and no Content-Digest")
            }
            return
        }
        let digests: StructuredDictionary
        do throws(StructuredFieldError) {
            digests = try StructuredDictionary(lines: request.values(of: "content-digest"))
        } catch {
            throw WorkloadProofError(.digest, "Content-Digest cannot be read: \(error.reason)")
        }
        guard case .item(let item) = digests["sha-256"], case .bytes(let digest) = item.value else {
            throw WorkloadProofError(.digest, "Content-Digest has no sha-256")
        }
        guard digest == request.bodySHA256 ?? ProofRequest.sha256(of: []) else {
            throw WorkloadProofError(.digest, "Content-Digest is not that of the body")
        }
    }

    // MARK: What is signed

    /// The signature base (RFC 9421 §2.5).
    static func base(
        _ input: StructuredInnerList, _ request: ProofRequest
    ) throws(WorkloadProofError) -> [UInt8] {
        var text = ""
        for item in input.items {
            guard case .string(let name) = item.value else { continue }
            text += StructuredFieldText.of(item) + ": "
            text += try self.componentValue(name, request) + "\n"
        }
        text += "\"@signature-params\": " + StructuredFieldText.of(input)
        return Array(text.utf8)
    }

    private static func componentValue(
        _ name: String, _ request: ProofRequest
    ) throws(WorkloadProofError) -> String {
        switch name {
        case "@method": return request.method
        case "@request-target": return request.requestTarget
        case _ where name.hasPrefix("@"):
            throw WorkloadProofError(
                .coverage, "component \(SPIFFEIDError.quoted(name)) is not understood")
        default:
            // A name in another case is none: components are named in lower case (RFC 9421 §2.1).
            guard ProofRequest.lowercased(name).utf8.elementsEqual(name.utf8), request.has(name)
            else {
                throw WorkloadProofError(
                    .coverage, "the request has no field \(SPIFFEIDError.quoted(name))")
            }
            return request.values(of: name).joined(separator: ", ")
        }
    }
}
