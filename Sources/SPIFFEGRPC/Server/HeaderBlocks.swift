import GRPCCore
import NIOCore

/// The header blocks of answers, encoded for HPACK without any table (RFC 7541 §6.2.2), so that they
/// are constants for all but metadata and error texts.
enum HeaderBlocks {
    /// `:status: 200`, `content-type: application/grpc`.
    private static let ok: ByteBuffer = {
        var block = ByteBuffer()
        block.writeInteger(UInt8(0x88))
        block.writeIndexed(name: 31, value: "application/grpc")
        return block
    }()

    private static let success: ByteBuffer = {
        var block = ByteBuffer()
        block.writeLiteral(name: "grpc-status", value: "0")
        return block
    }()

    /// What precedes the first message.
    static func head(_ metadata: Metadata) -> ByteBuffer {
        if metadata.isEmpty { return self.ok }
        var block = self.ok
        block.writeMetadata(metadata)
        return block
    }

    /// What follows the last message.
    static func trailers(_ status: Status, _ metadata: Metadata) -> ByteBuffer {
        if status.code == .ok, status.message.isEmpty, metadata.isEmpty { return self.success }
        var block = ByteBuffer()
        block.writeStatus(status, metadata)
        return block
    }

    /// The whole answer of a call that ends without a message.
    static func trailersOnly(_ status: Status, _ metadata: Metadata) -> ByteBuffer {
        var block = self.ok
        block.writeStatus(status, metadata)
        return block
    }

    /// The whole answer to what is no gRPC call.
    static func http(status: Int) -> ByteBuffer {
        var block = ByteBuffer()
        block.writeIndexed(name: 8, value: "\(status)")
        return block
    }

    /// A status text as gRPC wants it: printable ASCII as it is, everything else as %XX.
    static func percentEncoded(_ text: String) -> String {
        // An error text that goes on for pages helps nobody and must fit a peer's header limit.
        let bytes = text.utf8.prefix(4096)
        if bytes.allSatisfy({ (0x20...0x7e).contains($0) && $0 != UInt8(ascii: "%") }) {
            return String(decoding: bytes, as: UTF8.self)
        }
        let digits = Array("0123456789ABCDEF".utf8)
        var encoded: [UInt8] = []
        for byte in bytes {
            if (0x20...0x7e).contains(byte), byte != UInt8(ascii: "%") {
                encoded.append(byte)
            } else {
                encoded += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }
}

extension ByteBuffer {
    fileprivate mutating func writeStatus(_ status: Status, _ metadata: Metadata) {
        self.writeLiteral(name: "grpc-status", value: "\(status.code.rawValue)")
        if !status.message.isEmpty {
            self.writeLiteral(
                name: "grpc-message", value: HeaderBlocks.percentEncoded(status.message))
        }
        self.writeMetadata(metadata)
    }

    fileprivate mutating func writeMetadata(_ metadata: Metadata) {
        for (key, value) in metadata {
            self.writeLiteral(name: key.lowercased(), value: value.encoded())
        }
    }

    /// A field whose name is in HPACK's static table (RFC 7541 appendix A).
    fileprivate mutating func writeIndexed(name index: Int, value: String) {
        self.writePrefixed(index, bits: 4, first: 0)
        self.writeText(value)
    }

    /// A field that no table knows.
    fileprivate mutating func writeLiteral(name: String, value: String) {
        self.writeInteger(UInt8(0))
        self.writeText(name)
        self.writeText(value)
    }

    private mutating func writeText(_ text: String) {
        self.writePrefixed(text.utf8.count, bits: 7, first: 0)
        self.writeString(text)
    }

    /// An integer in what is left of a byte (RFC 7541 §5.1).
    private mutating func writePrefixed(_ value: Int, bits: UInt8, first: UInt8) {
        let limit = (1 << Int(bits)) - 1
        if value < limit {
            self.writeInteger(first | UInt8(value))
            return
        }
        self.writeInteger(first | UInt8(limit))
        var rest = value - limit
        while rest >= 128 {
            self.writeInteger(UInt8(rest % 128 + 128))
            rest /= 128
        }
        self.writeInteger(UInt8(rest))
    }
}
