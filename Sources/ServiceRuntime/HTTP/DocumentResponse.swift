import NIOCore
import NIOHTTP1

/// An answer in the form in which it goes out, made once and sent as often as it is asked for.
package struct DocumentResponse: Sendable, Hashable {
    /// The status code.
    package let status: Int
    /// The content: one for all clients, of which each is sent parts without a copy.
    let content: ByteBuffer
    /// A copy of the content.
    package var body: [UInt8] { Array(self.content.readableBytesView) }
    /// The entity tag, in its quotes; requests that name it are answered with 304 and nothing else.
    package let entityTag: String?
    /// Status line and header fields, but for `Date`, `Connection` and the empty line.
    private let head: [UInt8]
    /// The same for 304.
    private let notModifiedHead: [UInt8]

    /// - Parameters:
    ///   - status: The status code.
    ///   - contentType: The media type of the body.
    ///   - body: The content.
    ///   - entityTag: In its quotes; for status 200 only.
    ///   - cacheControl: What caches may do; by default they ask again each time.
    ///   - fields: Further header fields, from trusted text: they are sent as they are.
    package init(
        status: Int = 200, contentType: String, body: [UInt8], entityTag: String? = nil,
        cacheControl: String = "no-cache", fields: [(name: String, value: String)] = []
    ) {
        self.status = status
        self.content = ByteBuffer(bytes: body)
        self.entityTag = entityTag
        var shared = "cache-control: \(cacheControl)\r\n"
        if let entityTag { shared += "etag: \(entityTag)\r\n" }
        for field in fields { shared += "\(field.name): \(field.value)\r\n" }
        let reason = HTTPResponseStatus(statusCode: status).reasonPhrase
        self.head = Array(
            ("HTTP/1.1 \(status) \(reason)\r\ncontent-type: \(contentType)\r\n"
                + "content-length: \(body.count)\r\nx-content-type-options: nosniff\r\n" + shared)
                .utf8)
        self.notModifiedHead = Array(("HTTP/1.1 304 Not Modified\r\n" + shared).utf8)
    }

    /// A refusal: one line of text, not to be kept.
    package static func refusal(
        _ status: Int, _ text: String, fields: [(name: String, value: String)] = []
    ) -> DocumentResponse {
        DocumentResponse(
            status: status, contentType: "text/plain; charset=utf-8",
            body: Array((text + "\n").utf8),
            cacheControl: "no-store", fields: fields)
    }

    /// How many bytes a response has at most, without its content.
    func headLength(isUnchanged: Bool) -> Int {
        // The date, the preference and the connection's end.
        (isUnchanged ? self.notModifiedHead.count : self.head.count) + 128
    }

    /// Appends everything that comes before the content.
    ///
    /// - Parameters:
    ///   - date: The value of `Date`.
    ///   - isUnchanged: Whoever asks has the content: 304 instead.
    ///   - appliedWait: The seconds of the preference `wait`, if it was heeded (RFC 7240 §3).
    ///   - closes: Whether the connection ends with it.
    func writeHead(
        to buffer: inout ByteBuffer, date: String, isUnchanged: Bool, appliedWait: Int?,
        closes: Bool
    ) {
        buffer.writeBytes(isUnchanged ? self.notModifiedHead : self.head)
        buffer.writeString("date: ")
        buffer.writeString(date)
        if let appliedWait {
            buffer.writeString("\r\npreference-applied: wait=\(appliedWait)")
        }
        buffer.writeString(closes ? "\r\nconnection: close\r\n\r\n" : "\r\n\r\n")
    }
}
