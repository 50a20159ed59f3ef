/// An HTTP/2 error code (RFC 9113 §7), 32 bits on the wire.
package struct HTTP2ErrorCode: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let noError = HTTP2ErrorCode(rawValue: 0x0)
    package static let protocolError = HTTP2ErrorCode(rawValue: 0x1)
    package static let internalError = HTTP2ErrorCode(rawValue: 0x2)
    package static let flowControlError = HTTP2ErrorCode(rawValue: 0x3)
    package static let streamClosed = HTTP2ErrorCode(rawValue: 0x5)
    package static let frameSizeError = HTTP2ErrorCode(rawValue: 0x6)
    package static let refusedStream = HTTP2ErrorCode(rawValue: 0x7)
    package static let cancel = HTTP2ErrorCode(rawValue: 0x8)
    package static let compressionError = HTTP2ErrorCode(rawValue: 0x9)
    package static let enhanceYourCalm = HTTP2ErrorCode(rawValue: 0xb)
}

/// What ends a whole connection (RFC 9113 §5.4.1).
package struct HTTP2ConnectionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What the peer is told in GOAWAY.
    package let code: HTTP2ErrorCode
    /// What the peer did, for people; goes into GOAWAY's debug data.
    package let reason: String

    init(_ code: HTTP2ErrorCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    package var description: String { "HTTP/2 error \(self.code.rawValue): \(self.reason)" }
}

/// What ends one stream and nothing else (RFC 9113 §5.4.2).
struct StreamError: Error {
    let code: HTTP2ErrorCode
}
