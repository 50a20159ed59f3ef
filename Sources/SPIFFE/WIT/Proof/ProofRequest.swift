import Crypto
import Foundation

/// An HTTP request, as far as proofs are about it. Adapters of HTTP stacks make it; nothing is sent.
public struct ProofRequest: Sendable, Hashable {
    /// A header field. Names are compared without regard to case, values with.
    public struct Field: Sendable, Hashable {
        /// The name, in any case.
        public let name: String
        /// The value without the line's end.
        public let value: String

        /// Takes both as they are; ``ProofRequest`` checks them.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }

        /// Whether this is the name, given in lower case. Makes no copy: each field is asked many times.
        func isNamed(_ name: String) -> Bool {
            self.name.utf8.count == name.utf8.count
                && zip(self.name.utf8, name.utf8).allSatisfy { mine, wanted in
                    mine == wanted
                        || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(mine)
                            && mine | 0x20 == wanted
                }
        }
    }

    /// How the request travels, as whoever sends or receives it knows; never guessed from the request.
    public enum Channel: Sendable, Hashable {
        /// TLS with the server authenticated.
        case tls
        /// Protected by something else, such as a service mesh or a Unix socket.
        case securedOtherwise
        /// Readable on the way. Proofs are neither made for it nor accepted.
        case plaintext
    }

    /// As it stands in the request, for example `GET`.
    public let method: String
    /// As it stands in the request line: path and query, for example `/v1/orders?limit=5`. In HTTP/2 and 3
    /// the `:path` pseudo header.
    public let requestTarget: String
    /// All fields, each line of a repeated one for itself, in order.
    public let fields: [Field]
    /// SHA-256 of the body, 32 bytes; nil when there is no body.
    public let bodySHA256: [UInt8]?
    /// How the request travels.
    public let channel: Channel

    /// - Throws: ``WorkloadProofError`` `request` for what cannot be in an HTTP request: control
    ///   characters above all, which could end a line of what is signed.
    public init(
        method: String, requestTarget: String, fields: [Field], bodySHA256: [UInt8]?,
        channel: Channel
    ) throws(WorkloadProofError) {
        guard ProofRequest.isToken(method) else {
            throw WorkloadProofError(
                .request, "method \(SPIFFEIDError.quoted(method)) is none of HTTP")
        }
        guard !requestTarget.isEmpty, requestTarget.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw WorkloadProofError(
                .request, "request target \(SPIFFEIDError.quoted(requestTarget)) is none of HTTP")
        }
        for field in fields {
            guard ProofRequest.isToken(field.name),
                !field.value.utf8.contains(where: { $0 == 0 || $0 == 0x0A || $0 == 0x0D })
            else {
                throw WorkloadProofError(
                    .request, "field \(SPIFFEIDError.quoted(field.name)) is none of HTTP")
            }
        }
        guard bodySHA256 == nil || bodySHA256?.count == 32 else {
            throw WorkloadProofError(.request, "the digest of the body has not 32 bytes")
        }
        self.method = method
        self.requestTarget = requestTarget
        self.fields = fields
        self.bodySHA256 = bodySHA256
        self.channel = channel
    }

    /// The digest of a body that is in memory; for ``bodySHA256``.
    public static func sha256(of body: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: body)) }

    /// The values of all lines of a field, without white space around them.
    ///
    /// - Parameter name: In lower case.
    func values(of name: String) -> [String] {
        self.fields.filter { $0.isNamed(name) }.map { ProofRequest.trimmed($0.value) }
    }

    func has(_ name: String) -> Bool {
        self.fields.contains { $0.isNamed(name) }
    }

    /// The access token of `Authorization: Bearer …` or `DPoP …`; nil when there is none.
    ///
    /// - Throws: ``WorkloadProofError`` `binding` when there are several credentials: nobody could say which
    ///   of them the proof is about.
    func accessToken() throws(WorkloadProofError) -> String? {
        let values = self.values(of: "authorization")
        guard values.count <= 1 else {
            throw WorkloadProofError(.binding, "the request has several Authorization fields")
        }
        guard let value = values.first else { return nil }
        let parts = value.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, ["bearer", "dpop"].contains(ProofRequest.lowercased(parts[0]))
        else {
            return nil
        }
        return ProofRequest.trimmed(parts[1])
    }

    /// The only value of a field; nil when it is not there.
    ///
    /// - Throws: ``WorkloadProofError`` `binding` when it is there more than once.
    func onlyValue(of name: String) throws(WorkloadProofError) -> String? {
        let values = self.values(of: name)
        guard values.count <= 1 else {
            throw WorkloadProofError(.binding, "the request has several \(name) fields")
        }
        return values.first
    }

    /// Names of fields with further tokens: in lower case, each once, without those that every proof is
    /// about anyway.
    static func furtherTokenFields(_ names: some Sequence<String>) -> [String] {
        let known: Set<String> = [
            "authorization", "txn-token", "workload-identity-token", "workload-proof-token",
            "content-type", "content-digest", "signature", "signature-input",
        ]
        return Set(names.map { self.lowercased($0) }).subtracting(known).sorted()
    }

    /// The path of the request target; nil for other forms than path and query.
    var path: String? {
        guard self.requestTarget.utf8.first == UInt8(ascii: "/") else { return nil }
        return self.requestTarget.split(
            separator: "?", maxSplits: 1, omittingEmptySubsequences: false
        ).first.map(String.init)
    }

    /// ASCII only: other letters have no case in field names.
    static func lowercased(_ text: some StringProtocol) -> String {
        String(
            decoding: text.utf8.map {
                (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0
            }, as: UTF8.self)
    }

    /// A token of HTTP (RFC 9110 §5.6.2).
    static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        let bytes = Array(text.utf8)
        guard let first = bytes.firstIndex(where: { $0 != 0x20 && $0 != 0x09 }),
            let last = bytes.lastIndex(where: { $0 != 0x20 && $0 != 0x09 })
        else { return "" }
        return String(decoding: bytes[first...last], as: UTF8.self)
    }
}
