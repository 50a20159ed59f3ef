public import NIOHTTP1
public import SPIFFE

/// Puts a WIT-SVID and a proof of it on requests, and only for `https`.
///
/// Incubating; the drafts of WIMSE that it follows may change. ``SPIFFEHTTPClient`` takes one; with another
/// client give it each request, complete, just before it is sent:
///
/// ```swift
/// let injector = WITSVIDInjector(source, recipient: .target)
/// request.headers = try await injector.headers(
///     for: .POST, url, headers: request.headers, body: request.body)
/// ```
///
/// A proof is for one request and one recipient. A client that sends a request again, or follows a redirection, starts
/// from the headers without proof and asks anew with the URL that it goes to.
///
/// For requests that something else than TLS protects, such as a Unix socket, use `WorkloadProofSigner` and say so there.
public struct WITSVIDInjector: Sendable {
    /// Whom proofs are for.
    public struct Recipient: Sendable, Hashable {
        enum Value: Sendable, Hashable {
            case target
            case named(String, origins: Set<HTTPSURL.Origin>)
        }
        let value: Value

        /// The URL of each request, without its query: `https`, host in lower case, port unless it is 443, path. Worth
        /// nothing at any other server, wherever a redirection leads.
        public static let target = Recipient(value: .target)

        /// A name agreed with the recipient, for requests to these origins and to no others: whoever else got such a
        /// proof could use it at the recipient.
        ///
        /// - Parameters:
        ///   - name: As the recipient has it among the names of its `ProofAudience`.
        ///   - origins: Where it is reached, such as `https://orders.internal:8443`; a path is not heeded.
        /// - Throws: ``SPIFFEHTTPError`` `insecureURL` or `invalidURL` for an origin, `proof` for a name that is empty or
        ///   not printable ASCII.
        public static func named(
            _ name: String, at origins: [String]
        ) throws(SPIFFEHTTPError) -> Recipient {
            guard !name.isEmpty, name.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
                throw SPIFFEHTTPError(
                    .proof,
                    "recipient \(SPIFFEHTTPError.quoted(name)) is no audience; expected printable ASCII"
                )
            }
            var places: Set<HTTPSURL.Origin> = []
            for origin in origins { places.insert(try HTTPSURL(origin).origin) }
            return Recipient(value: .named(name, origins: places))
        }
    }

    private let source: any WITSVIDSource
    private let signer: WorkloadProofSigner
    private let recipient: Recipient
    private let id: SPIFFEID?

    /// - Parameters:
    ///   - source: Asked for each request; holds what it hands out, as `WITSource` does.
    ///   - recipient: Whom proofs are for; has no default, since the recipient must agree.
    ///   - signer: The kind of proof and how long it lives.
    ///   - id: Whose WIT-SVID; nil takes the default identity.
    public init(
        _ source: any WITSVIDSource, recipient: Recipient,
        signer: WorkloadProofSigner = WorkloadProofSigner(), id: SPIFFEID? = nil
    ) {
        self.source = source
        self.recipient = recipient
        self.signer = signer
        self.id = id
    }

    /// The headers of a request, with WIT-SVID and proof added at the end. Secrets for as long as the proof lives: never log
    /// them.
    ///
    /// - Parameters:
    ///   - method: As it will stand in the request.
    ///   - url: Where the request goes; path and query as they will stand in it.
    ///   - headers: All that the request will have. A signature covers `content-type`, `content-digest`, `authorization`,
    ///     `txn-token` and the signer's fields with further tokens.
    ///   - body: The whole body; empty for none.
    /// - Throws: ``SPIFFEHTTPError`` `insecureURL`, `invalidURL` and `otherRecipient` without asking for an identity,
    ///   `noIdentity` when there is none, `proof` when the request has such headers already or carries the WIT-SVID
    ///   elsewhere; `CancellationError`.
    public func headers(
        for method: HTTPMethod, _ url: String, headers: HTTPHeaders, body: [UInt8]
    ) async throws -> HTTPHeaders {
        let target = try HTTPSURL(url)
        let audience = try self.audience(target, url)
        let svid: WITSVID
        do {
            svid = try await self.source.witSVID(id: self.id)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw SPIFFEHTTPError(.noIdentity, "there is no WIT-SVID for the request", error)
        }
        do throws(WorkloadProofError) {
            let request = try ProofRequest(
                method: method.rawValue, requestTarget: target.target,
                fields: headers.map { .init(name: $0.name, value: $0.value) },
                bodySHA256: body.isEmpty ? nil : ProofRequest.sha256(of: body), channel: .tls)
            var headers = headers
            for field in try self.signer.fields(for: request, audience: audience, svid: svid) {
                headers.add(name: field.name, value: field.value)
            }
            return headers
        } catch {
            throw SPIFFEHTTPError(.proof, "the request cannot be given a proof", error)
        }
    }

    private func audience(_ target: HTTPSURL, _ url: String) throws(SPIFFEHTTPError) -> String {
        switch self.recipient.value {
        case .target:
            let path = target.target.prefix { $0 != "?" }
            return target.origin.text + path
        case .named(let name, let origins):
            guard origins.contains(target.origin) else {
                throw SPIFFEHTTPError(
                    .otherRecipient,
                    "URL \(SPIFFEHTTPError.quoted(url)) is not at an origin of recipient "
                        + "\(SPIFFEHTTPError.quoted(name)); nothing is sent there")
            }
            return name
        }
    }
}
