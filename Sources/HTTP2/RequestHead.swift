package import NIOHPACK

/// The header section of a request that is well-formed by RFC 9113 §8.2 and §8.3.
package struct RequestHead: Sendable {
    package let method: String
    package let path: String
    /// All fields, pseudo-header fields included, as they came.
    package let fields: HPACKHeaders
    /// The value of `content-length`, if there is one.
    let contentLength: Int?

    /// - Throws: ``StreamError`` when the section is malformed (RFC 9113 §8.1.1).
    init(_ fields: HPACKHeaders) throws(StreamError) {
        var method: String?
        var path: String?
        var scheme: String?
        var authority: String?
        var sawRegular = false
        var length: Int?
        for (name, value, _) in fields {
            try FieldRules.check(name, value)
            if name.utf8.first == UInt8(ascii: ":") {
                if sawRegular { throw StreamError(code: .protocolError) }
                switch name {
                case ":method": try FieldRules.take(value, into: &method)
                case ":path": try FieldRules.take(value, into: &path)
                case ":scheme": try FieldRules.take(value, into: &scheme)
                case ":authority": try FieldRules.take(value, into: &authority)
                default: throw StreamError(code: .protocolError)
                }
                continue
            }
            sawRegular = true
            if name == "content-length" {
                guard let number = FieldRules.length(value), length == nil || length == number
                else {
                    throw StreamError(code: .protocolError)
                }
                length = number
            }
        }
        guard let method, let path, !path.isEmpty, scheme != nil
        else { throw StreamError(code: .protocolError) }
        self.method = method
        self.path = path
        self.fields = fields
        self.contentLength = length
    }

    /// Checks a trailer section: as above, and no pseudo-header fields at all.
    static func checkTrailers(_ fields: HPACKHeaders) throws(StreamError) {
        for (name, value, _) in fields {
            try FieldRules.check(name, value)
            if name.utf8.first == UInt8(ascii: ":") { throw StreamError(code: .protocolError) }
        }
    }
}

/// What a field may look like (RFC 9113 §8.2).
private enum FieldRules {
    /// A pseudo-header field may be there once.
    static func take(_ value: String, into field: inout String?) throws(StreamError) {
        if field != nil { throw StreamError(code: .protocolError) }
        field = value
    }

    /// Fields that mean something to HTTP/1.1 connections only.
    private static func isConnectionSpecific(_ name: String) -> Bool {
        switch name.utf8.count {
        case 7: name == "upgrade"
        case 10: name == "connection" || name == "keep-alive"
        case 16: name == "proxy-connection"
        case 17: name == "transfer-encoding"
        default: false
        }
    }

    static func check(_ name: String, _ value: String) throws(StreamError) {
        var isFirst = true
        for byte in name.utf8 {
            let isColonInFront = isFirst && byte == UInt8(ascii: ":")
            isFirst = false
            switch byte {
            case 0x00...0x20, 0x41...0x5a, 0x7f...0xff: throw StreamError(code: .protocolError)
            case UInt8(ascii: ":") where !isColonInFront: throw StreamError(code: .protocolError)
            default: continue
            }
        }
        if isFirst { throw StreamError(code: .protocolError) }
        for byte in value.utf8 where byte == 0 || byte == 10 || byte == 13 {
            throw StreamError(code: .protocolError)
        }
        if let first = value.utf8.first, let last = value.utf8.last,
            first == 32 || first == 9 || last == 32 || last == 9
        {
            throw StreamError(code: .protocolError)
        }
        if self.isConnectionSpecific(name) || (name == "te" && value != "trailers") {
            throw StreamError(code: .protocolError)
        }
    }

    /// Decimal digits only, no sign, small enough for an `Int`.
    static func length(_ value: String) -> Int? {
        guard !value.isEmpty, value.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int(value)
    }
}
