package import Transparency

/// A log whose published checkpoints witnesses cosign.
package protocol WitnessedLog: TileReader {
    /// The log's key.
    var key: VerifierKey { get }
    /// Gives one element at once, and one after each publication; what is not taken in time is dropped but for one.
    func publications() -> AsyncStream<Void>
    /// Puts cosignatures below the published checkpoint; one of the same key is replaced.
    ///
    /// - Returns: False when another checkpoint is published by now.
    /// - Throws: When the checkpoint cannot be read or written.
    func add(_ cosignatures: [NoteSignature], to checkpoint: SignedNote) async throws -> Bool
}

/// Asks one witness (C2SP tlog-witness, "add-checkpoint").
package protocol WitnessClient: Sendable {
    /// - Parameter body: The request.
    /// - Throws: What keeps an answer from coming.
    func addCheckpoint(_ body: [UInt8]) async throws -> WitnessResponse
}

/// What came back from a witness; nobody has looked at it.
package struct WitnessResponse: Sendable, Hashable {
    /// The HTTP status.
    package let status: Int
    /// `Content-Type`.
    package let contentType: String?
    package let body: [UInt8]

    package init(status: Int, contentType: String?, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }
}

/// A witness that is asked.
package struct LedgerWitness: Sendable {
    /// What the operator calls it.
    package let name: String
    /// What its cosignatures are verified with.
    package let key: VerifierKey
    package let client: any WitnessClient

    package init(name: String, key: VerifierKey, client: any WitnessClient) {
        self.name = name
        self.key = key
        self.client = client
    }
}

/// Why a checkpoint has no cosignature of a witness.
package struct WitnessingError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What kind of failure it is.
    package enum Code: Sendable, Hashable {
        /// The witness says that it has seen another history of this log.
        case contradicted
        /// It refuses for another reason that waiting does not change.
        case refused
        /// It does not answer as a witness does, or not now.
        case failed
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
