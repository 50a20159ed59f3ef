/// What a witness answers over HTTP (C2SP tlog-witness).
package struct WitnessAnswer: Hashable, Sendable {
    /// The HTTP status.
    package let status: Int
    /// The value of `Content-Type`.
    package let contentType: String
    /// The body, with a newline at its end.
    package let body: [UInt8]

    private init(_ status: Int, _ body: String, contentType: String = "text/plain; charset=utf-8") {
        self.status = status
        self.contentType = contentType
        self.body = Array((body + "\n").utf8)
    }

    /// 200 with the witness's signature line.
    static func cosigned(_ signature: NoteSignature) -> WitnessAnswer {
        WitnessAnswer(200, String(signature.line.dropLast()))
    }

    /// 409 with the size that the witness has, so that the log can try again from there.
    static func conflict(_ size: UInt64) -> WitnessAnswer {
        WitnessAnswer(409, String(size), contentType: "text/x.tlog.size")
    }

    static func malformed(_ message: String) -> WitnessAnswer { WitnessAnswer(400, message) }
    static func unsigned(_ message: String) -> WitnessAnswer { WitnessAnswer(403, message) }
    static func unknown(_ message: String) -> WitnessAnswer { WitnessAnswer(404, message) }
    static func inconsistent(_ message: String) -> WitnessAnswer { WitnessAnswer(422, message) }

    /// 503: the witness cannot remember what it would cosign, so it does not.
    package static func unavailable(_ message: String) -> WitnessAnswer {
        WitnessAnswer(503, message)
    }

    /// The size in the body of a 409 (`text/x.tlog.size`); nil when it has another form.
    package static func size(_ body: [UInt8]) -> UInt64? {
        guard body.last == UInt8(ascii: "\n") else { return nil }
        return Decimal.parse(body.dropLast())
    }

    /// The signature lines of an answer with status 200, for the log.
    ///
    /// - Returns: The signatures by the witnesses given that verify; others are left out.
    /// - Throws: ``TransparencyError`` `malformedNote` when the body is not signature lines; `wrongSignature`;
    ///   `notSigned`.
    package static func signatures(
        _ body: [UInt8], over checkpoint: SignedNote, by witnesses: [VerifierKey]
    ) throws(TransparencyError) -> [NoteSignature] {
        let note = try SignedNote(parsing: checkpoint.text + [UInt8(ascii: "\n")] + body)
        guard note.text == checkpoint.text else {
            throw TransparencyError(
                .malformedNote, "a witness answered with more than signature lines")
        }
        return try note.verified(by: witnesses).map(\.signature)
    }
}
