package import Logging
import NIOCore
package import ServiceRuntime
package import Transparency

/// A witness over HTTP (C2SP tlog-witness): `POST /add-checkpoint`, and for monitors
/// `GET /<SHA-256 of the origin in hex>/checkpoint`.
package struct WitnessEndpoint: Sendable {
    /// How long a request may be, in bytes: room for a checkpoint with the cosignatures of many witnesses.
    package static let maximumRequestBytes = 128 * 1024

    private let listener: DocumentListener

    /// - Parameters:
    ///   - place: Where to listen.
    ///   - limits: What clients may take up.
    ///   - certificate: What the endpoint shows; nil serves without TLS.
    ///   - latest: Finds the note that was cosigned last, by the digest of its log's origin.
    ///   - answer: Answers a request's body, on a thread that may wait.
    package init(
        place: DocumentListener.Place, limits: DocumentLimits = WitnessEndpoint.limits,
        certificate: (any ServingCertificate)?, logger: Logger,
        latest: @escaping @Sendable (_ originDigest: String) -> SignedNote?,
        answer: @escaping @Sendable (_ body: [UInt8]) -> WitnessAnswer
    ) {
        var makeTLSHandler: (@Sendable () throws -> any ChannelHandler)?
        if let certificate { makeTLSHandler = { try certificate.makeHandler() } }
        let post = DocumentPost(maximumBytes: Self.maximumRequestBytes) { body in
            let answer = answer(body)
            return DocumentResponse(
                status: answer.status, contentType: answer.contentType, body: answer.body,
                cacheControl: "no-store")
        }
        self.listener = DocumentListener(
            purpose: "a witness", place: place, limits: limits, makeTLSHandler: makeTLSHandler,
            logger: logger,
            slowRoutes: { request in
                guard let digest = Self.originDigest(of: request.path) else { return nil }
                return {
                    latest(digest).map {
                        DocumentResponse(contentType: "text/plain; charset=utf-8", body: $0.bytes)
                    }
                }
            },
            posts: { $0.path == "/add-checkpoint" ? post : nil },
            routes: { request in
                request.path == "/add-checkpoint"
                    ? .refusal(405, "use POST", fields: [("allow", "POST")]) : nil
            })
    }

    /// What clients may take up, unless somebody says otherwise: bodies are kept in memory until they are whole.
    package static var limits: DocumentLimits {
        var limits = DocumentLimits()
        limits.maximumConnections = 256
        limits.maximumConnectionsPerAddress = 32
        return limits
    }

    /// Serves until the task is cancelled.
    ///
    /// - Parameter onBound: Told the port once it is bound.
    /// - Throws: ``CommandError`` when the address cannot be bound.
    package func run(onBound: @Sendable (Int) -> Void = { _ in }) async throws {
        try await self.listener.run(onBound: onBound)
    }

    private static func originDigest(of path: String) -> String? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].isEmpty, parts[2] == "checkpoint",
            Hex.decode(parts[1])?.count == 32
        else { return nil }
        return String(parts[1])
    }
}
