import Foundation

/// Where the Workload API of this host is: a Unix domain socket or an IP address with a port.
///
/// Valid by construction; nothing is guessed and no name is resolved.
///
/// | Form | Examples |
/// |---|---|
/// | `unix`, no authority, absolute path | `unix:///run/agent/api.sock`, `unix:/run/agent/api.sock` |
/// | `tcp`, IP address, port 1 to 65535 | `tcp://127.0.0.1:8000`, `tcp://[::1]:8000` |
///
/// - SeeAlso: SPIFFE Workload Endpoint §4.
public struct WorkloadAPIAddress: Hashable, Sendable, CustomStringConvertible {
    /// What to connect to.
    enum Endpoint: Hashable, Sendable {
        case unix(path: String)
        case ipv4(host: String, port: Int)
        case ipv6(host: String, port: Int)
    }

    /// The environment variable that holds the address when a program names none.
    public static let environmentVariable = "SPIFFE_ENDPOINT_SOCKET"

    let endpoint: Endpoint

    /// Parses an address.
    ///
    /// A path may have percent-escapes; scheme and host are taken as they are.
    ///
    /// - Parameter string: For example `unix:///run/agent/api.sock`.
    /// - Throws: ``WorkloadAPIError`` `invalidAddress` with the rule that was broken.
    public init(_ string: String) throws(WorkloadAPIError) {
        if string.hasPrefix("unix:") {
            self.endpoint = try Self.unix(string.dropFirst(5), of: string)
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
    ///   - environment: Where `SPIFFE_ENDPOINT_SOCKET` is looked for, empty counts as not set;
    ///     nil takes the environment of this process.
    /// - Throws: ``WorkloadAPIError`` `noAddress` when there is none, `invalidAddress`.
    public static func resolve(
        explicit: String? = nil,
        environment: [String: String]? = nil
    ) throws(WorkloadAPIError) -> WorkloadAPIAddress {
        if let explicit { return try WorkloadAPIAddress(explicit) }
        let environment = environment ?? ProcessInfo.processInfo.environment
        guard let value = environment[self.environmentVariable], !value.isEmpty else {
            throw WorkloadAPIError(
                .noAddress,
                "the address of the Workload API is not known; set \(self.environmentVariable), for "
                    + "example to unix:///run/agent/api.sock")
        }
        return try WorkloadAPIAddress(value)
    }

    /// The address in its shortest form, `unix:/path` or `tcp://host:port`.
    public var description: String {
        switch self.endpoint {
        // Two slashes after the colon would announce a host.
        case .unix(let path): (path.hasPrefix("//") ? "unix://" : "unix:") + Self.escaped(path)
        case .ipv4(let host, let port): "tcp://\(host):\(port)"
        case .ipv6(let host, let port): "tcp://[\(host)]:\(port)"
        }
    }

    /// The path with the characters escaped that mean something in an address.
    private static func escaped(_ path: String) -> String {
        path.replacing("%", with: "%25").replacing("?", with: "%3F").replacing("#", with: "%23")
    }

    private static func unix(
        _ rest: Substring, of string: String
    ) throws(WorkloadAPIError) -> Endpoint {
        do throws(UnixAddressRule) {
            return .unix(path: try UnixAddressRule.path(rest))
        } catch {
            throw self.error(string, error.reason)
        }
    }

    private static func tcp(
        _ rest: Substring, of string: String
    ) throws(WorkloadAPIError) -> Endpoint {
        let host: String
        let portText: Substring
        let isIPv6 = rest.hasPrefix("[")
        if isIPv6 {
            guard let end = rest.range(of: "]:") else {
                throw self.error(string, "a tcp address has an IP address and a port")
            }
            host = String(rest[rest.index(after: rest.startIndex)..<end.lowerBound])
            portText = rest[end.upperBound...]
        } else {
            guard let colon = rest.firstIndex(of: ":") else {
                throw self.error(string, "a tcp address has an IP address and a port")
            }
            host = String(rest[..<colon])
            portText = rest[rest.index(after: colon)...]
        }
        guard self.isIPAddress(host, family: isIPv6 ? AF_INET6 : AF_INET) else {
            throw self.error(string, "its host is no IP address; names are not resolved")
        }
        let isNumber = portText.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
        }
        guard isNumber, !portText.hasPrefix("0"), let port = UInt16(portText) else {
            throw self.error(
                string, "after the IP address comes a port from 1 to 65535 and nothing else")
        }
        return isIPv6 ? .ipv6(host: host, port: Int(port)) : .ipv4(host: host, port: Int(port))
    }

    /// inet_pton takes the canonical spellings only: no zone, no octal, no missing parts.
    private static func isIPAddress(_ text: String, family: Int32) -> Bool {
        guard !text.utf8.contains(0) else { return false }
        var address = in6_addr()
        return inet_pton(family, text, &address) == 1
    }

    private static func error(_ string: String, _ reason: String) -> WorkloadAPIError {
        WorkloadAPIError(
            .invalidAddress,
            "Workload API address \(WorkloadAPIError.quoted(string)) rejected: \(reason)")
    }
}

/// The rule that an address with the scheme `unix` breaks (Workload Endpoint §4, Broker Endpoint §4).
package struct UnixAddressRule: Error, Hashable, Sendable {
    /// Which one, for people.
    package let reason: String

    /// The longest path that fits a socket address, without its terminating zero.
    private static let longestPath = 107

    private init(_ reason: String) { self.reason = reason }

    /// The path of the socket, from what follows `unix:`.
    package static func path(_ rest: Substring) throws(UnixAddressRule) -> String {
        var path = rest
        if path.hasPrefix("//") {
            path = path.dropFirst(2)
            guard path.hasPrefix("/") else {
                throw UnixAddressRule("a unix address has no host; write unix:///absolute/path")
            }
        }
        guard path.hasPrefix("/"), path.utf8.count > 1 else {
            throw UnixAddressRule(
                "a unix address has an absolute path; write unix:///absolute/path")
        }
        guard !path.utf8.contains(where: { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") })
        else {
            throw UnixAddressRule("a unix address has neither query nor fragment")
        }
        guard let decoded = String(path).removingPercentEncoding,
            decoded.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
        else {
            throw UnixAddressRule("its path has a bad percent-escape or a control character")
        }
        guard decoded.utf8.count <= self.longestPath else {
            throw UnixAddressRule(
                "its path has \(decoded.utf8.count) bytes; sockets allow \(self.longestPath)")
        }
        return decoded
    }
}
