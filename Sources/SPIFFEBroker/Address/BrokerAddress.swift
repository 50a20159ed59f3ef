import Foundation
import SPIFFEWorkloadAPI

/// Where a Broker Endpoint is: a Unix domain socket, or a host with a port.
///
/// Valid by construction.
///
/// | Form | Examples |
/// |---|---|
/// | `unix`, no authority, absolute path | `unix:///run/agent/broker/api.sock` |
/// | `tcp`, IP address or DNS name, port 1 to 65535 | `tcp://127.0.0.1:8000`, `tcp://[::1]:8000`, `tcp://broker.acme.test:8443` |
///
/// - SeeAlso: SPIFFE Broker Endpoint §4.
public struct BrokerAddress: Hashable, Sendable, CustomStringConvertible {
    /// What to connect to.
    enum Endpoint: Hashable, Sendable {
        case unix(path: String)
        case ipv4(host: String, port: Int)
        case ipv6(host: String, port: Int)
        case name(host: String, port: Int)
    }

    /// The environment variable that holds the address when a program names none.
    public static let environmentVariable = "SPIFFE_BROKER_SOCKET"

    let endpoint: Endpoint

    /// Parses an address.
    ///
    /// - Parameter string: For example `unix:///run/agent/broker/api.sock`.
    /// - Throws: ``BrokerError`` `invalidAddress` with the rule that was broken.
    public init(_ string: String) throws(BrokerError) {
        if string.hasPrefix("unix:") {
            do throws(UnixAddressRule) {
                self.endpoint = .unix(path: try UnixAddressRule.path(string.dropFirst(5)))
            } catch {
                throw Self.error(string, error.reason)
            }
        } else if string.hasPrefix("tcp://") {
            self.endpoint = try Self.tcp(string.dropFirst(6), of: string)
        } else {
            throw Self.error(string, "it starts with neither \"unix:\" nor \"tcp://\"")
        }
    }

    /// The address to use: the explicit one, else that of the environment.
    ///
    /// - Parameters:
    ///   - explicit: What the program was told; nil when nothing. An empty string is an error.
    ///   - environment: Where `SPIFFE_BROKER_SOCKET` is looked for, empty counts as not set; nil takes the
    ///     environment of this process.
    /// - Throws: ``BrokerError`` `noAddress` when there is none, `invalidAddress`.
    public static func resolve(
        explicit: String? = nil, environment: [String: String]? = nil
    ) throws(BrokerError) -> BrokerAddress {
        if let explicit { return try BrokerAddress(explicit) }
        let environment = environment ?? ProcessInfo.processInfo.environment
        guard let value = environment[self.environmentVariable], !value.isEmpty else {
            throw BrokerError(
                .noAddress,
                "the address of the Broker Endpoint is not known; set \(self.environmentVariable), for "
                    + "example to unix:///run/agent/broker/api.sock")
        }
        return try BrokerAddress(value)
    }

    /// Whether it can only lead to this node: a Unix socket or the loopback interface. A name other than
    /// `localhost` may lead anywhere.
    public var isLocal: Bool {
        switch self.endpoint {
        case .unix: true
        case .ipv4(let host, _): host.hasPrefix("127.")
        case .ipv6(let host, _): Self.isLoopback(host)
        case .name(let host, _): host.lowercased() == "localhost"
        }
    }

    /// The address in its shortest form, `unix:/path` or `tcp://host:port`.
    public var description: String {
        switch self.endpoint {
        case .unix(let path): "unix:" + path
        case .ipv4(let host, let port), .name(let host, let port): "tcp://\(host):\(port)"
        case .ipv6(let host, let port): "tcp://[\(host)]:\(port)"
        }
    }

    private static func tcp(
        _ rest: Substring, of string: String
    ) throws(BrokerError) -> Endpoint {
        let isIPv6 = rest.hasPrefix("[")
        let separator = isIPv6 ? "]:" : ":"
        guard let end = rest.range(of: separator) else {
            throw self.error(string, "a tcp address has a host and a port")
        }
        let host = String(isIPv6 ? rest[..<end.lowerBound].dropFirst() : rest[..<end.lowerBound])
        let portText = rest[end.upperBound...]
        let isNumber = portText.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
        }
        guard isNumber, !portText.hasPrefix("0"), let number = UInt16(portText) else {
            throw self.error(string, "after the host comes a port from 1 to 65535 and nothing else")
        }
        let port = Int(number)
        if isIPv6 {
            guard self.isIPAddress(host, family: AF_INET6) else {
                throw self.error(string, "what is in brackets is no IPv6 address")
            }
            return .ipv6(host: host, port: port)
        }
        if self.isIPAddress(host, family: AF_INET) { return .ipv4(host: host, port: port) }
        guard self.isName(host) else {
            throw self.error(string, "its host is neither an IP address nor a DNS name")
        }
        return .name(host: host, port: port)
    }

    /// inet_pton takes the canonical spellings only: no zone, no octal, no missing parts.
    private static func isIPAddress(_ text: String, family: Int32) -> Bool {
        guard !text.utf8.contains(0) else { return false }
        var address = in6_addr()
        return inet_pton(family, text, &address) == 1
    }

    /// `::1` in any spelling.
    private static func isLoopback(_ text: String) -> Bool {
        var address = in6_addr()
        guard inet_pton(AF_INET6, text, &address) == 1 else { return false }
        return withUnsafeBytes(of: address) { bytes in
            bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1
        }
    }

    /// Labels of letters, digits and hyphens, 63 bytes at most each, 253 in all; the last one is not a number,
    /// because a wrong IPv4 address is not a name.
    private static func isName(_ text: String) -> Bool {
        let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard text.utf8.count <= 253, let last = labels.last, !last.allSatisfy(self.isDigit) else {
            return false
        }
        return labels.allSatisfy(self.isLabel)
    }

    private static func isLabel(_ label: Substring.UTF8View) -> Bool {
        let hyphen = UInt8(ascii: "-")
        guard (1...63).contains(label.count), label.first != hyphen, label.last != hyphen else {
            return false
        }
        return label.allSatisfy { $0 == hyphen || self.isDigit($0) || self.isLetter($0) }
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func error(_ string: String, _ reason: String) -> BrokerError {
        BrokerError(
            .invalidAddress,
            "Broker Endpoint address \(BrokerError.quoted(string)) rejected: \(reason)")
    }
}
