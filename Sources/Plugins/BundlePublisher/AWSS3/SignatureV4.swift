import Crypto
package import Foundation

/// Signs requests to AWS with Signature Version 4, all in the `authorization` header.
///
/// Pure: the time comes from the caller. Checked against AWS's published examples.
package struct SignatureV4: Sendable {
    /// Whose requests they are.
    package struct Credentials: Sendable, Hashable {
        package let accessKeyID: String
        package let secretAccessKey: String
        /// Set for temporary credentials.
        package let sessionToken: String?

        package init(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil) {
            self.accessKeyID = accessKeyID
            self.secretAccessKey = secretAccessKey
            self.sessionToken = sessionToken
        }
    }

    package let credentials: Credentials
    package let region: String
    /// Such as `s3`.
    package let service: String

    package init(credentials: Credentials, region: String, service: String) {
        self.credentials = credentials
        self.region = region
        self.service = service
    }

    /// The value of the `authorization` header.
    ///
    /// - Parameters:
    ///   - path: As it is sent, percent-encoded once, with the leading slash.
    ///   - query: As it is sent, already in canonical order; empty for none.
    ///   - headers: All that are to be signed, `host` and `x-amz-date` among them. Names in any case.
    ///   - payloadSHA256: Lower-case hex of the body's SHA-256.
    ///   - timestamp: The value of `x-amz-date`; see ``timestamp(_:)``.
    package func authorization(
        method: String, path: String, query: String = "",
        headers: [(name: String, value: String)], payloadSHA256: String, timestamp: String
    ) -> String {
        let canonical =
            headers
            .map { ($0.name.lowercased(), Self.trimmed($0.value)) }
            .sorted { $0.0.utf8.lexicographicallyPrecedes($1.0.utf8) }
        let names = canonical.map(\.0).joined(separator: ";")
        let lines = canonical.map { "\($0.0):\($0.1)\n" }.joined()
        let request = [method, path, query, lines, names, payloadSHA256].joined(separator: "\n")
        let day = String(timestamp.prefix(8))
        let scope = "\(day)/\(self.region)/\(self.service)/aws4_request"
        let text = [
            "AWS4-HMAC-SHA256", timestamp, scope, Self.sha256Hex(Array(request.utf8)),
        ].joined(separator: "\n")
        let signature = Self.hex(
            HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: self.key(day: day)))
        return
            "AWS4-HMAC-SHA256 Credential=\(self.credentials.accessKeyID)/\(scope), "
            + "SignedHeaders=\(names), Signature=\(signature)"
    }

    /// A time as `x-amz-date` has it, such as `20130524T000000Z`.
    package static func timestamp(_ date: Date) -> String {
        let seconds = Int64(date.timeIntervalSince1970.rounded(.down))
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        func digits(_ value: Int32, _ width: Int = 2) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        return digits(parts.tm_year + 1900, 4) + digits(parts.tm_mon + 1) + digits(parts.tm_mday)
            + "T" + digits(parts.tm_hour) + digits(parts.tm_min) + digits(parts.tm_sec) + "Z"
    }

    /// Lower-case hex of the SHA-256 of a body.
    package static func sha256Hex(_ bytes: [UInt8]) -> String {
        Self.hex(SHA256.hash(data: bytes))
    }

    /// Percent-encodes a path for S3: everything but `A-Z a-z 0-9 - . _ ~` and the slashes between segments.
    package static func encodedPath(_ path: String) -> String {
        var result = ""
        for byte in path.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "/"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return result
    }

    private func key(day: String) -> SymmetricKey {
        var key = SymmetricKey(data: Array("AWS4\(self.credentials.secretAccessKey)".utf8))
        for part in [day, self.region, self.service, "aws4_request"] {
            key = SymmetricKey(
                data: HMAC<SHA256>.authenticationCode(for: Data(part.utf8), using: key))
        }
        return key
    }

    /// Without white space at the ends, and one space for several.
    private static func trimmed(_ value: String) -> String {
        value.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
