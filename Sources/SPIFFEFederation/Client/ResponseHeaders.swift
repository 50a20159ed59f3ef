import NIOHTTP1

/// What a client of bundle endpoints reads from the headers of a response.
struct ResponseHeaders {
    private let headers: HTTPHeaders

    init(_ headers: HTTPHeaders) { self.headers = headers }

    /// All values of a field, as they came.
    func values(_ name: String) -> [String] { self.headers[name] }

    /// The entity tag (RFC 9110 §8.8.3); nil when there is none, several, or one that breaks the rules.
    var entityTag: String? {
        let tags = self.headers["etag"]
        guard let tag = tags.first, tags.count == 1, Self.isEntityTag(tag) else { return nil }
        return tag
    }

    /// Whether text can be sent as an entity tag.
    static func isEntityTag(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        let opaque = bytes.starts(with: Array("W/".utf8)) ? bytes.dropFirst(2) : bytes[...]
        let quote = UInt8(ascii: "\"")
        return bytes.count <= 1024 && opaque.count >= 2 && opaque.first == quote
            && opaque.last == quote
            && opaque.dropFirst().dropLast().allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != quote }
    }

    /// `max-age` of `cache-control` (RFC 9111 §5.2.2.1); nil without one, and when nothing may be kept.
    var maxAge: Duration? {
        var age: Duration?
        for value in self.headers["cache-control"] {
            for part in value.split(separator: ",") {
                let directive = part.filter { $0 != " " && $0 != "\t" }.lowercased()
                if directive == "no-store" || directive == "no-cache" { return nil }
                if directive.hasPrefix("max-age="), age == nil {
                    age = Self.seconds(directive.dropFirst(8).filter { $0 != "\"" })
                }
            }
        }
        return age
    }

    /// `retry-after` in seconds (RFC 9110 §10.2.3); a date is not read.
    var retryAfter: Duration? {
        self.headers["retry-after"].first.flatMap { Self.seconds($0.filter { $0 != " " }) }
    }

    /// The number of `wait` in `preference-applied` (RFC 7240 §3); nil when the preference was not heeded, and for one
    /// that is no number.
    var appliedWait: Duration? {
        for value in self.headers["preference-applied"] {
            for part in value.split(separator: ",") {
                let preference = part.filter { $0 != " " && $0 != "\t" && $0 != "\"" }.lowercased()
                if preference.hasPrefix("wait=") { return Self.seconds(preference.dropFirst(5)) }
            }
        }
        return nil
    }

    /// Codings of the body or of its transfer that nobody asked for.
    var unwantedCoding: String? {
        func values(_ name: String) -> [String] {
            self.headers[name].flatMap { $0.split(separator: ",") }.map {
                $0.filter { $0 != " " && $0 != "\t" }.lowercased()
            }
        }
        return values("content-encoding").first { $0 != "identity" && !$0.isEmpty }
            ?? values("transfer-encoding").first { $0 != "chunked" && !$0.isEmpty }
    }

    /// A number of seconds; one that is too large for 32 bits counts as the largest (RFC 9111 §1.2.2).
    private static func seconds(_ digits: some StringProtocol) -> Duration? {
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return .seconds(min(Int64(digits) ?? .max, Int64(Int32.max)))
    }
}
