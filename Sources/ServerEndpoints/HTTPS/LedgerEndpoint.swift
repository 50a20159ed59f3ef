import Crypto
package import Logging
import NIOCore
package import ServiceRuntime
package import Transparency

/// The ledger for everybody: the checkpoint, tiles and entries as files, in the layout of C2SP tlog-tiles.
package struct LedgerEndpoint: Sendable {
    /// Reads a file of the log; nil when there is none.
    package typealias Reader = @Sendable (_ path: String, _ limit: Int) throws -> [UInt8]?

    private let listener: DocumentListener

    /// An entry bundle may have megabytes, and every client may hold one.
    package static var limits: DocumentLimits {
        var limits = DocumentLimits()
        limits.maximumConnections = 64
        limits.maximumConnectionsPerAddress = 8
        return limits
    }

    /// - Parameters:
    ///   - place: Where to listen.
    ///   - limits: What clients may take up.
    ///   - certificate: What the endpoint shows; nil serves without TLS.
    ///   - read: Called on threads that may wait, with paths of the layout only.
    package init(
        place: DocumentListener.Place, limits: DocumentLimits = LedgerEndpoint.limits,
        certificate: (any ServingCertificate)?, logger: Logger, read: @escaping Reader
    ) {
        var makeTLSHandler: (@Sendable () throws -> any ChannelHandler)?
        if let certificate { makeTLSHandler = { try certificate.makeHandler() } }
        self.listener = DocumentListener(
            purpose: "the ledger", place: place, limits: limits, makeTLSHandler: makeTLSHandler,
            logger: logger,
            slowRoutes: { request in
                guard let file = LedgerDocument(path: request.path) else { return nil }
                return {
                    do { return try file.response(read) } catch {
                        logger.warning("cannot read the ledger", metadata: ["error": "\(error)"])
                        return .refusal(503, "the ledger cannot be read now")
                    }
                }
            },
            routes: { _ in nil })
    }

    /// Serves until the task is cancelled.
    ///
    /// - Parameter onBound: Told the port once it is bound.
    /// - Throws: ``CommandError`` when the address cannot be bound.
    package func run(onBound: @Sendable (Int) -> Void = { _ in }) async throws {
        try await self.listener.run(onBound: onBound)
    }
}

/// A file of the log that may be asked for.
package enum LedgerDocument: Sendable, Hashable {
    case checkpoint
    case tile(Tile)

    /// Nil for every path but those of the layout, each in its one form.
    package init?(path: String) {
        guard path.utf8.first == UInt8(ascii: "/") else { return nil }
        let name = String(path.utf8.dropFirst()) ?? ""
        if name == "checkpoint" {
            self = .checkpoint
        } else if let tile = try? Tile(path: name) {
            self = .tile(tile)
        } else {
            return nil
        }
    }

    /// The answer; nil when there is no such file. A partial tile is gone when the full one is there.
    package func response(_ read: LedgerEndpoint.Reader) throws -> DocumentResponse? {
        switch self {
        case .checkpoint:
            guard let bytes = try read("checkpoint", SignedNote.maximumBytes) else { return nil }
            return DocumentResponse(
                contentType: "text/plain; charset=utf-8", body: bytes,
                entityTag: "\"\(Hex.encode(SHA256.hash(data: bytes).prefix(16)))\"",
                cacheControl: "public, max-age=1, must-revalidate")
        case .tile(let tile):
            let limit =
                tile.kind == .entries
                ? EntryBundle.maximumBytes : Tile.fullWidth * MerkleHash.byteCount
            guard let bytes = try read(tile.path, limit) else { return nil }
            // Neither ever changes, and a partial one is of no use for long.
            return DocumentResponse(
                contentType: "application/octet-stream", body: bytes,
                cacheControl: tile.isPartial
                    ? "public, max-age=3600" : "public, max-age=31536000, immutable")
        }
    }
}
