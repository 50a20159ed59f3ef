import AgentEndpoints
import Foundation
import SPIFFE
import ServiceRuntime

/// The block `broker` of `experimental`: the Broker Endpoint, which there is only where somebody asks for it.
struct BrokerFileConfiguration: Sendable, Hashable {
    let settings: BrokerSettings
    /// Advice for the operator.
    let notes: [String]

    /// - Throws: ``ConfigurationError``; without a place to listen at or without brokers, too.
    init(_ section: ConfigurationSection) throws(ConfigurationError) {
        var block = section
        let socketPath = try block.string("socket_path").nonEmpty
        let address = try block.parsed(
            "bind_address", expecting: "an address and a port, such as \"127.0.0.1:8443\""
        ) { try ListenAddress($0) }
        let host = (address?.host).nonEmpty
        guard socketPath != nil || host != nil else {
            throw block.missing("socket_path", "add it, or bind_address, or both")
        }
        guard let listed = try block.list("brokers"), !listed.isEmpty else {
            throw block.missing("brokers", "list who may call, such as { id = \"spiffe://…\" }")
        }
        var brokers: [BrokerPolicy] = []
        var notes: [String] = []
        for item in listed {
            let (policy, advice) = try Self.broker(item)
            if brokers.contains(where: { $0.id == policy.id }) {
                throw ConfigurationError(
                    .conflict, "\(item.name) at \(item.location): \(policy.id) is listed before")
            }
            brokers.append(policy)
            notes += advice
        }
        try block.finish()
        self.settings = BrokerSettings(
            socketPath: socketPath, host: host, port: address?.port ?? 0, brokers: brokers)
        self.notes = notes + block.notes
    }

    private static func broker(
        _ section: ConfigurationSection
    ) throws(ConfigurationError) -> (BrokerPolicy, [String]) {
        var item = section
        let parsed = try item.parsed(
            "id", expecting: "a SPIFFE ID such as \"spiffe://example.org/broker\""
        ) { text -> SPIFFEID? in
            let id = try SPIFFEID(text)
            return id.hasEmptyPath ? nil : id
        }
        guard let id = parsed else {
            throw item.missing("id", "it is the SPIFFE ID of the broker")
        }
        var types: [String: Bool] = [:]
        var notes: [String] = []
        for type in try item.list("allowed_reference_types") ?? [] {
            var type = type
            guard let url = try type.string("type_url").nonEmpty else {
                throw type.missing(
                    "type_url", "it is \"\(BrokerPolicy.pidType)\" or \"*\"")
            }
            if types[url] != nil {
                throw ConfigurationError(
                    .conflict,
                    "\(type.name) at \(type.location): \(QuotedText.quoted(url)) is listed before")
            }
            types[url] = try type.boolean("allow_over_tcp") ?? false
            try type.finish()
            if url != BrokerPolicy.pidType, url != BrokerPolicy.anyType {
                notes.append(
                    "\(type.name) at \(type.location) has no effect: no reference of the type "
                        + "\(QuotedText.quoted(url)) is understood here")
            }
        }
        if types.isEmpty {
            notes.append(
                "broker \(id) may ask for nothing: it has no allowed_reference_types")
        }
        var selectors: Set<Selector> = []
        for text in try item.strings("workload_selectors") ?? [] {
            do throws(SelectorError) {
                selectors.insert(try Selector(text))
            } catch {
                throw ConfigurationError(
                    .invalidValue,
                    "workload_selectors of \(item.name) at "
                        + "\(item.location(of: "workload_selectors")): \(error)")
            }
        }
        try item.finish()
        let policy = BrokerPolicy(
            id: id, referenceTypes: types, workloadSelectors: selectors)
        return (policy, notes + item.notes)
    }
}

/// Where to listen with TCP: `host:port`, an IPv6 address in brackets.
private struct ListenAddress {
    /// Empty for nowhere.
    let host: String
    let port: Int

    /// - Throws: `ListenAddressError` when the text is no such thing.
    init(_ text: String) throws {
        if text.isEmpty {
            self.host = ""
            self.port = 0
            return
        }
        guard let colon = text.lastIndex(of: ":") else { throw ListenAddressError() }
        var host = text[..<colon]
        let digits = text[text.index(after: colon)...]
        let isNumber = digits.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
        }
        guard isNumber, let port = UInt16(digits), port > 0 else { throw ListenAddressError() }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw ListenAddressError()
        }
        if host.isEmpty { throw ListenAddressError() }
        self.host = String(host)
        self.port = Int(port)
    }
}

private struct ListenAddressError: Error, CustomStringConvertible {
    let description = "it does not end with a colon and a port from 1 to 65535"
}

extension BrokerSettings {
    /// Refuses a broker socket that lies with the Workload API's: who may open the one should not be able to
    /// so much as see the other (Broker Endpoint §2).
    func checkDirectory(against workloadSocket: String) throws(ConfigurationError) {
        guard let path = self.socketPath else { return }
        let folders = [path, workloadSocket].map { path in
            URL(fileURLWithPath: path).standardizedFileURL.deletingLastPathComponent().path
        }
        if folders[0] == folders[1] {
            throw ConfigurationError(
                .conflict,
                "socket_path of agent.experimental.broker, \(QuotedText.quoted(path)), is in the "
                    + "directory of the Workload API's socket; choose a directory of its own")
        }
    }
}
